/**
 * The keys of the cloud as this gateway believes them: those it was given, or, where it knows the root that signs key lists, those of
 * the newest list. That is fetched when something is signed by a key it does not know, or when the cloud speaks of a newer one.
 * Its version never goes down.
 */
import { codeOf, describe } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { sameBytes } from '../wire/bytes.ts';
import { KEY_LIST_BYTES_MAX, KEY_LIST_CONTENT_TYPE, rootHash, verifyKeyList } from '../wire/keylist.ts';
import type { CloudPublic } from '../wire/keys.ts';
import type { Link } from './connection.ts';
import type { UplinkLogger } from './types.ts';

/** Where the newest list is kept, and whose lists count. */
export interface KeyListPlace {
  /** The root's public key. */
  readonly root: Uint8Array;
  /** Why the list that was there could not be used. */
  readonly fault?: unknown;
  /** To disk, whole or not at all. Throws when it cannot. */
  save(list: Uint8Array): void;
}

export interface CloudKeysOptions {
  /** Undefined with a `place` that has no list yet. */
  readonly keys: CloudPublic | undefined;
  readonly place: KeyListPlace | undefined;
  readonly link: Link;
  /** Of `GET …/v1/keys`. */
  readonly path: string;
  readonly clock: Clock;
  readonly logger: UplinkLogger;
  readonly onChange: (keys: CloudPublic) => void;
}

/** After a fetch that brought nothing new: forged answers must not make us ask without end. */
const QUIET_MS = 1000;

export class CloudKeys {
  readonly #options: CloudKeysOptions;
  #keys: CloudPublic | undefined;
  #fetching: Promise<void> | undefined;
  #quietUntilMs = Number.NEGATIVE_INFINITY;
  #unanswered = false;

  constructor(options: CloudKeysOptions) {
    this.#options = options;
    this.#keys = options.keys;
    const { place, logger } = options;
    if (place?.fault !== undefined) {
      logger.error(
        { error: describe(place.fault) },
        'uplink: the key list on disk cannot be used; it is fetched again',
      );
    }
  }

  /** Empty before the first list: nothing is believed and nothing can be sealed. */
  get answer(): CloudPublic['answer'] {
    return this.#keys?.answer ?? [];
  }

  get current(): CloudPublic | undefined {
    return this.#keys;
  }

  knows(kid: Uint8Array): boolean {
    return this.answer.some((known) => sameBytes(known.kid, kid));
  }

  /** Whether other keys than the given ones can ever be believed. */
  get follows(): boolean {
    return this.#options.place !== undefined;
  }

  /** Whether the last time nobody could say if there is a newer list: that is a failure of the moment, no verdict. */
  get unanswered(): boolean {
    return this.#unanswered;
  }

  /** 0 before the first list. */
  get version(): number {
    return this.#keys?.version ?? 0;
  }

  /**
   * Fetches the list unless it came since somebody saw `seenVersion`. Never rejects.
   * @returns whether the keys are newer than that.
   */
  async newerThan(seenVersion: number, signal: AbortSignal): Promise<boolean> {
    const { place, clock } = this.#options;
    if (this.version > seenVersion) return true;
    if (place === undefined) return false;
    if (this.#fetching === undefined && clock.monoMs() < this.#quietUntilMs) return false;
    this.#fetching ??= this.#fetch(place, signal).finally(() => {
      this.#fetching = undefined;
    });
    await this.#fetching;
    return this.version > seenVersion;
  }

  async #fetch(place: KeyListPlace, signal: AbortSignal): Promise<void> {
    const { link, path, clock, logger } = this.#options;
    this.#quietUntilMs = clock.monoMs() + QUIET_MS;
    try {
      const message = { path, accept: KEY_LIST_CONTENT_TYPE, answerBytesMax: KEY_LIST_BYTES_MAX };
      this.#unanswered = true;
      const { status, body } = await link.get(message, signal);
      this.#unanswered = status === 408 || status === 429 || status >= 500;
      if (status !== 200) {
        logger.warn({ status }, 'uplink: the cloud gave no key list');
        return;
      }
      this.#take(place, body);
    } catch (error) {
      if (!signal.aborted) logger.warn({ code: codeOf(error), error: describe(error) }, 'uplink: no key list');
    }
  }

  /** @throws what `verifyKeyList` throws */
  #take(place: KeyListPlace, body: Uint8Array): void {
    const { logger, onChange } = this.#options;
    const list = new Uint8Array(body);
    const keys = verifyKeyList(list, rootHash(place.root), this.version);
    if (keys.version === this.version) {
      if (!isSame(keys, this.#keys)) logger.error({ version: keys.version }, 'uplink: two key lists of one version');
      return;
    }
    try {
      // Before it is used: after a restart the version must not be lower.
      place.save(list);
    } catch (error) {
      logger.error(
        { error: describe(error) },
        'uplink: the key list cannot be kept; it is fetched again after a restart',
      );
    }
    this.#keys = keys;
    this.#quietUntilMs = Number.NEGATIVE_INFINITY;
    logger.info({ version: keys.version }, 'uplink: a newer key list is in force');
    onChange(keys);
  }
}

function isSame(a: CloudPublic, b: CloudPublic | undefined): boolean {
  const all = ({ recipient, answer }: CloudPublic) => [recipient, ...answer].map(({ publicKey }) => publicKey);
  const [mine, theirs] = [all(a), b === undefined ? [] : all(b)];
  return mine.length === theirs.length && mine.every((key, i) => sameBytes(key, theirs[i] ?? new Uint8Array()));
}
