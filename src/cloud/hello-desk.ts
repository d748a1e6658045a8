/** Answers a HELLO: what is held of exactly the rows a gateway asks about. What is not listed is not held. */
import { SluiceError } from '../errors.ts';
import { hex } from '../wire/bytes.ts';
import { CODEC } from '../wire/compress.ts';
import { type HeldRun, type Hello, type HelloRun, openHello, signHelloAnswer } from '../wire/hello.ts';
import type { CloudKey } from '../wire/keys.ts';
import { intersect, RANGES_MAX } from '../wire/ranges.ts';
import type { Catalog } from './catalog.ts';
import type { DeviceList } from './devices.ts';
import type { RangesStore } from './ranges-store.ts';

export interface HelloDeskOptions {
  readonly keys: CloudKey;
  readonly devices: DeviceList;
  readonly catalog: Catalog;
  readonly ranges: RangesStore;
  readonly incarnation: Uint8Array;
  /** Largest envelope taken. */
  readonly sizeMax: number;
  /** A HELLO of this key was believed. */
  readonly onSigned?: (kid: Uint8Array) => void;
}

/** Best first. */
const CODECS = [CODEC.brotli, CODEC.deflate, CODEC.stored];

export class HelloDesk {
  readonly #options: HelloDeskOptions;

  constructor(options: HelloDeskOptions) {
    this.#options = options;
  }

  /** @throws as `check` */
  answer(bytes: Uint8Array, nowMs: number): Uint8Array {
    return this.answerTo(this.check(bytes), nowMs);
  }

  /**
   * Whose it is, and that it is believed.
   * @throws hello.malformed, hello.signature_invalid, hello.signer_unknown, hello.signer_revoked, hello.device_foreign
   */
  check(bytes: Uint8Array): Hello {
    const hello = openHello(bytes, (kid, claimed) => {
      const signer = this.#options.devices.signer(kid, claimed);
      if (signer === 'revoked') throw refused('signer_revoked', 'signed by a revoked key');
      if (signer === 'foreign') throw refused('device_foreign', 'signed by the key of another device');
      return signer;
    });
    this.#options.onSigned?.(hello.kid);
    return hello;
  }

  /** To one that was checked. */
  answerTo({ device, nonce, runs }: Hello, nowMs: number): Uint8Array {
    const { keys, catalog, incarnation, sizeMax } = this.#options;
    const deviceId = catalog.findDevice(hex(device));
    const held = deviceId === undefined ? [] : runs.flatMap((run) => this.#held(deviceId, run));
    const answer = {
      device,
      nonce,
      cloudMs: nowMs,
      incarnation,
      sizeMax,
      codecs: CODECS,
      keyListVersion: keys.version,
      held,
    };
    return signHelloAnswer(answer, keys.answer);
  }

  #held(deviceId: number, { run, classes }: HelloRun): HeldRun[] {
    const { catalog, ranges } = this.#options;
    const runId = catalog.findRun(deviceId, hex(run));
    if (runId === undefined) return [];
    const known = classes.map(({ class: cls, ranges: asked }) => ({
      class: cls,
      // Cut short where a message could not hold more: the gateway sends those rows again, and they count as duplicates.
      held: intersect(ranges.all('held', runId, cls), asked).slice(0, RANGES_MAX),
      explained: intersect(ranges.explainedOnly(runId, cls), asked).slice(0, RANGES_MAX),
    }));
    return [{ run, classes: known }];
  }
}

function refused(name: string, message: string): SluiceError {
  return new SluiceError(`hello.${name}`, 'discard', message);
}
