/**
 * `POST /v1/enrol`: a one-time token for a place in the device list. Whoever has no token learns nothing and changes nothing; whoever
 * has one gets one place, for one key, and the same answer as often as that key asks again (its first one may have been lost).
 */
import { codeOf, isSluiceError, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { hex } from '../wire/bytes.ts';
import { answerEnrolment, type EnrolRequest, openEnrolment } from '../wire/enrol.ts';
import type { Audit } from './audit.ts';
import type { DeviceBook } from './device-book.ts';
import type { EnrolTokens, StoredToken } from './enrol-tokens.ts';

export interface EnrolDeskOptions {
  readonly tokens: EnrolTokens;
  readonly book: DeviceBook;
  readonly audit: Pick<Audit, 'record'>;
  /** What is given to those who enrol; without a list nobody can. */
  readonly keyList: Uint8Array | undefined;
  readonly clock: Clock;
}

/** Refused attempts of one address in a minute; a person mistypes fewer. */
const FAILURES_MAX = 10;
const FAILURES_WINDOW_MS = 60_000;
/** Addresses remembered; a flood from more than this forgets the oldest. */
const ADDRESSES_MAX = 10_000;

export class EnrolDesk {
  readonly #options: EnrolDeskOptions;
  readonly #failures = new Map<string, { count: number; untilMs: number }>();

  constructor(options: EnrolDeskOptions) {
    this.#options = options;
  }

  /**
   * @returns the answer's bytes
   * @throws enrol.<reason>: see `openEnrolment`; then token_used, token_expired, device_other, device_known, name_taken, key_known;
   *   too_many_attempts, no_key_list. cloud.devices_… when the list cannot be changed: the same key may try again.
   */
  answer(body: Uint8Array, address: string): Uint8Array {
    const { keyList, audit } = this.#options;
    if (keyList === undefined) {
      throw refused('no_key_list', 'this cloud has no signed key list', 'Start it with --key-list.');
    }
    let device: string | null = null;
    try {
      const request = openEnrolment(body, (id) => this.#options.tokens.get(id)?.macKey);
      device = hex(request.device);
      const token = this.#redeem(request, address);
      return answerEnrolment(request, { name: token.name, list: keyList }, token.macKey);
    } catch (thrown) {
      const code = codeOf(thrown);
      if (!isSluiceError(thrown) || !code.startsWith('enrol.')) throw thrown;
      const isTooMany = this.#failed(address);
      audit.record({
        ...{ who: 'nobody', address, action: 'enrol.refused', object: device, outcome: 'refused' },
        details: { code },
      });
      // The right token passes all the same: behind a proxy one box with an old token must not lock out the others.
      if (!isTooMany) throw thrown;
      throw refused('too_many_attempts', 'too many refused enrolments from this address', 'Wait a minute.');
    }
  }

  #redeem(request: EnrolRequest, address: string): StoredToken {
    const { tokens, book, clock } = this.#options;
    const [device, key] = [hex(request.device), hex(request.publicKey)];
    // Whose it is is on disk before the list says so: whatever breaks in between, no second key can have it.
    const token = book.transact(() => this.#claim(request.tokenId, device, key, clock.wallMs()));
    if (!token.listed) {
      book.transact(() => {
        book.enrol({ device, name: token.name, publicKey: key }, address);
        tokens.markListed(token);
      });
    }
    return token;
  }

  #claim(id: Uint8Array, device: string, key: string, nowMs: number): StoredToken {
    const { tokens } = this.#options;
    const token = tokens.get(id);
    if (token === undefined) throw refused('token_unknown', 'no such enrolment token');
    if (token.usedKey !== null) {
      if (token.usedKey === key && token.usedDevice === device) return token;
      throw refused('token_used', 'this enrolment token was used by another key', 'A token works once: make another.');
    }
    if (token.expiresMs <= nowMs) {
      throw refused('token_expired', 'this enrolment token has expired', 'Make another: sluice cloud token.');
    }
    this.#requireFree(token, device, key);
    tokens.use(token, key, device, nowMs);
    return token;
  }

  #requireFree({ name, device: bound }: StoredToken, device: string, key: string): void {
    const { devices } = this.#options.book;
    if (bound !== null && bound !== device) {
      throw refused('device_other', 'this enrolment token is for another device', `It is for ${bound}.`);
    }
    for (const entry of devices.entries()) {
      if (entry.publicKey === key && (entry.device !== device || entry.revoked === true)) {
        throw refused('key_known', 'this key is listed already, or was revoked', 'Make a new key.');
      }
      if (entry.name === name && entry.device !== device) {
        throw refused('name_taken', `another device is called ${name}`, 'Make a token with another --name.');
      }
      if (entry.device === device && bound === null && (entry.publicKey !== key || entry.name !== name)) {
        const hint = `For a new key of it: sluice cloud token --name ${entry.name}.`;
        throw refused('device_known', 'this device is listed already, with another key or name', hint);
      }
    }
  }

  /** @returns whether this address has failed too often. */
  #failed(address: string): boolean {
    const nowMs = this.#options.clock.monoMs();
    const known = this.#failures.get(address);
    if (known !== undefined && known.untilMs > nowMs) return ++known.count > FAILURES_MAX;
    const [oldest] = this.#failures.keys();
    if (this.#failures.size >= ADDRESSES_MAX && oldest !== undefined) this.#failures.delete(oldest);
    this.#failures.set(address, { count: 1, untilMs: nowMs + FAILURES_WINDOW_MS });
    return false;
  }
}

function refused(name: string, message: string, hint?: string): SluiceError {
  return new SluiceError(`enrol.${name}`, 'discard', message, hint === undefined ? {} : { hint });
}
