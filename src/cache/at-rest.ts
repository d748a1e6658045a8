/**
 * Encryption at rest: AES-256-GCM a row, inside the store, so that nothing above knows of it.
 *
 *     form u8 (0xE1) | key id, 4 bytes | nonce, 12 random bytes | tag, 16 bytes | ciphertext
 *
 * The table's name and the row's id are the associated data: a row that was moved, swapped or copied from another cache does
 * not open. The key id tells a wrong key, which stops, from damage, which costs one row. No packing of a block begins with
 * 0xE1, so blocks say themselves whether they are sealed, and a cache may hold both.
 *
 * Random nonces of 96 bits are safe for 2^32 rows a key (NIST SP 800-38D, 8.3): `at-rest-rows.ts` counts them.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { SluiceError } from '../errors.ts';
import { hex } from '../wire/bytes.ts';

export const KEY_BYTES = 32;
const CIPHER = 'aes-256-gcm';
const FORM = 0xe1;
const KID_BYTES = 4;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const NONCE_AT = 1 + KID_BYTES;
const TAG_AT = NONCE_AT + NONCE_BYTES;
const HEADER_BYTES = TAG_AT + TAG_BYTES;

export type SealedTable = 'blocks' | 'damaged' | 'dead_letters';

/** Keys as they cross to the worker. */
export interface AtRestKeys {
  /** Seals what is written from now on; undefined writes in the clear. */
  readonly current: Uint8Array | undefined;
  /** Open what earlier ones sealed. */
  readonly previous: readonly Uint8Array[];
}

export const NO_KEYS: AtRestKeys = { current: undefined, previous: [] };

interface Key {
  readonly kid: Uint8Array;
  readonly secret: Uint8Array;
}

/** Eight hex digits: enough to tell the keys of one box apart, and nothing that helps to guess one. */
export function atRestKid(key: Uint8Array): string {
  return hex(kidOf(key));
}

function kidOf(key: Uint8Array): Uint8Array {
  const digest = createHash('sha256').update('sluice at rest: key id\0').update(key).digest();
  return new Uint8Array(digest.subarray(0, KID_BYTES));
}

/** The key id that stands on sealed bytes; undefined on any other. */
export function kidOn(stored: Uint8Array): string | undefined {
  return stored[0] === FORM && stored.length >= HEADER_BYTES ? hex(stored.subarray(1, NONCE_AT)) : undefined;
}

/** How sealed bytes of a key begin. */
export function sealedPrefix(kid: string): Uint8Array {
  return Uint8Array.from([FORM, ...Buffer.from(kid, 'hex')]);
}

function associated(table: SealedTable, id: number): Buffer {
  return Buffer.from(`sluice at rest 1\0${table}\0${id}`);
}

export class Sealer {
  /** Of the key that seals. */
  readonly kid: string | undefined;
  readonly #current: Key | undefined;
  readonly #keys: ReadonlyMap<string, Key>;
  readonly #onSeal: () => void;

  /** @param onSeal called for each row that the current key seals. */
  constructor({ current, previous }: AtRestKeys, onSeal: () => void = () => {}) {
    this.#onSeal = onSeal;
    const keys = [...(current === undefined ? [] : [current]), ...previous].map((secret): Key => {
      if (secret.length !== KEY_BYTES) throw new RangeError(`a key at rest has ${KEY_BYTES} bytes`);
      return { kid: kidOf(secret), secret };
    });
    this.#keys = new Map(keys.map((key) => [hex(key.kid), key]));
    this.kid = current === undefined ? undefined : atRestKid(current);
    this.#current = this.kid === undefined ? undefined : this.#keys.get(this.kid);
  }

  get kids(): string[] {
    return [...this.#keys.keys()];
  }

  has(kid: string): boolean {
    return this.#keys.has(kid);
  }

  /** As it is where there is no key to seal with. */
  seal(table: SealedTable, id: number, plain: Uint8Array): Uint8Array {
    if (this.#current === undefined) return plain;
    this.#onSeal();
    const { kid, secret } = this.#current;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, secret, nonce).setAAD(associated(table, id));
    // GCM gives all of it at once, and nothing at the end but the tag.
    const sealed = cipher.update(plain);
    cipher.final();
    const out = new Uint8Array(HEADER_BYTES + sealed.length);
    out[0] = FORM;
    out.set(kid, 1);
    out.set(nonce, NONCE_AT);
    out.set(cipher.getAuthTag(), TAG_AT);
    out.set(sealed, HEADER_BYTES);
    return out;
  }

  /** Undefined for bytes that were changed or moved, or whose key is not here. */
  open(table: SealedTable, id: number, sealed: Uint8Array): Uint8Array | undefined {
    const key = this.#keys.get(kidOn(sealed) ?? '');
    if (key === undefined) return undefined;
    const decipher = createDecipheriv(CIPHER, key.secret, sealed.subarray(NONCE_AT, TAG_AT), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(associated(table, id)).setAuthTag(sealed.subarray(TAG_AT, HEADER_BYTES));
    const plain = decipher.update(sealed.subarray(HEADER_BYTES));
    try {
      decipher.final();
      return plain;
    } catch {
      return undefined;
    }
  }
}

/** Rows are sealed and no key that is here opens them. @param kids of the keys that are missing. */
export function keyMissing(sealer: Sealer, kids: readonly string[]): SluiceError {
  const wanted = `key ${kids.join(', ')}`;
  if (sealer.kids.length === 0)
    return new SluiceError(
      'cache.key_missing',
      'stop',
      `readings in this cache are encrypted, and ${wanted} is not here`,
      {
        hint: 'Give it: cache.encryptAtRest.key (previous, when it shall only open what is there), or --key-file on the command line.',
      },
    );
  return new SluiceError(
    'cache.key_wrong',
    'stop',
    `readings in this cache are encrypted with ${wanted}, and only ${sealer.kids.join(', ')} is here`,
    { hint: 'Name the key that was used before in cache.encryptAtRest.previous. Nothing was changed.' },
  );
}
