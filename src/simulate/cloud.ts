/**
 * The real receiver, store and hello desk in one process without HTTP: what `POST /v1/batches` and `/v1/hello` would
 * answer. It can be killed, restored from a backup, told to refuse certain readings or sizes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DeviceList, fixedDevices } from '../cloud/devices.ts';
import { HelloDesk } from '../cloud/hello-desk.ts';
import { openStore, type Store } from '../cloud/store.ts';
import { describe } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { ANSWER_CODES, type AnswerInput, answerCode, refusalCode, signAnswer } from '../wire/answer.ts';
import { hex } from '../wire/bytes.ts';
import { envelopeDigest, type Opened, open } from '../wire/envelope.ts';
import { type CloudKey, type DeviceKey, recipientSecret } from '../wire/keys.ts';
import { type RangeSet, union } from '../wire/ranges.ts';
import type { World } from './world.ts';

/** What HTTP would carry back. */
export interface CloudReply {
  readonly status: number;
  readonly retryAfter?: string;
  readonly body: Uint8Array;
}

const DATABASE = 'cloud.sqlite';
/** Of the gateways' tags; a cloud that refuses poison refuses every batch with this value in it. */
export const POISON = 666_666.5;

export class SimulatedCloud {
  readonly keys: CloudKey;
  readonly #device: DeviceKey;
  readonly #devices: DeviceList;
  readonly #world: World;
  readonly #clock: Clock;
  readonly #folder: string;
  #stores = 0;
  #path: string;
  #running: { readonly store: Store; readonly hello: HelloDesk; readonly incarnation: Uint8Array } | undefined;
  /** What it ever took, by `run/class`, whatever it forgot since. */
  readonly everHeld = new Map<string, RangeSet>();
  refusesPoison = false;
  /** Envelopes above are too large, signed. */
  sizeMax = 1_000_000;
  /** Says "not now" so often. */
  busyShare = 0;

  constructor(world: World, clock: Clock, folder: string, keys: CloudKey, device: DeviceKey) {
    this.#world = world;
    this.#clock = clock;
    this.#folder = folder;
    this.keys = keys;
    this.#device = device;
    this.#devices = fixedDevices([{ device: hex(device.device), name: 'line3', publicKey: hex(device.publicKey) }]);
    this.#path = this.#newPath();
  }

  #newPath(): string {
    const path = join(this.#folder, `cloud-${this.#stores++}`);
    mkdirSync(path, { recursive: true });
    return path;
  }

  get isUp(): boolean {
    return this.#running !== undefined;
  }

  start(): void {
    if (this.#running !== undefined) return;
    const store = openStore(this.#path, this.#clock);
    const incarnation = this.#world.random.bytes(16);
    const { keys, sizeMax } = this;
    const hello = new HelloDesk({ ...store, keys, devices: this.#devices, incarnation, sizeMax });
    this.#running = { store, hello, incarnation };
    this.#world.log(`cloud starts, takes ${sizeMax} bytes`);
  }

  stop(): void {
    this.#running?.store.close();
    this.#running = undefined;
    this.#world.log('cloud is gone');
  }

  /** All of it, as of the last batch. */
  backup(): Uint8Array | undefined {
    return this.#running?.store.db.serialize();
  }

  /** While it is stopped. */
  restore(backup: Uint8Array): void {
    this.#path = this.#newPath();
    writeFileSync(join(this.#path, DATABASE), backup);
  }

  /** While it runs. */
  get store(): Store {
    if (this.#running === undefined) throw new Error('the cloud does not run');
    return this.#running.store;
  }

  post(path: string, body: Uint8Array): CloudReply {
    return path.endsWith('/hello') ? this.#hello(body) : this.#batch(body);
  }

  #batch(body: Uint8Array): CloudReply {
    const { busyShare } = this;
    if (body.length > this.sizeMax) return this.#sign(body, ANSWER_CODES.too_large);
    if (busyShare > 0 && this.#world.random.chance(busyShare)) {
      const isBusy = this.#world.random.chance(0.5);
      return { ...this.#sign(body, isBusy ? ANSWER_CODES.busy : ANSWER_CODES.rate_limited), retryAfter: '3' };
    }
    try {
      const opened = this.#open(body);
      if (this.refusesPoison && holdsPoison(opened)) return this.#sign(body, ANSWER_CODES.row_refused);
      const applied = this.store.receiver.apply(opened, this.#clock.wallMs());
      opened.payload.sections.forEach(({ run, class: classNumber }, i) => {
        const list = `${hex(run)}/${classNumber}`;
        this.everHeld.set(list, union(this.everHeld.get(list) ?? [], opened.contents[i]?.ranges ?? []));
      });
      this.#world.log(`cloud took ${applied.rows} rows, ${applied.duplicates} of them again`);
      return this.#sign(body, ANSWER_CODES.ok, applied);
    } catch (thrown) {
      const code = refusalCode(thrown);
      // Gateways of ours say nothing that is not understood; a lost dictionary is part of the story.
      if (code !== ANSWER_CODES.dictionary_unknown)
        this.#world.problem(`the cloud could not take a batch: ${describe(thrown)}`);
      return this.#sign(body, code);
    }
  }

  #hello(body: Uint8Array): CloudReply {
    if (this.#running === undefined) throw new Error('the cloud does not run');
    return { status: 200, body: this.#running.hello.answer(body, this.#clock.wallMs()) };
  }

  #open(body: Uint8Array): Opened {
    return open(body, {
      signer: (kid, device) => this.#devices.signer(kid, device),
      recipient: (kid) => recipientSecret(this.keys, kid),
    });
  }

  #sign(body: Uint8Array, code: number, more: Partial<AnswerInput> = {}): CloudReply {
    const incarnation = this.#running?.incarnation ?? new Uint8Array(16);
    const answer = { rows: 0, duplicates: 0, ...more, code, incarnation };
    const signed = signAnswer(answer, this.#device.device, envelopeDigest(body), this.keys.answer);
    return { status: answerCode(code)?.http ?? 500, body: signed };
  }
}

function holdsPoison({ contents }: Opened): boolean {
  return contents.some((content) => content.kind === 'readings' && content.columns.value.includes(POISON));
}
