/** Strict reading of JSON objects that came from outside: every key known, every value of its type and in its bounds. */
import { isSluiceError, SluiceError } from '../errors.ts';

/** Recovery discard: the row will not get better. */
export const CONTROL_MALFORMED = 'control.malformed';
/** Of run, boot and tag. */
export const ID_BYTES = 16;
/** Of names and conditions, in UTF-16 units. */
export const NAME_MAX = 1024;
/** Of sentences for people. */
export const TEXT_MAX = 1024;
/** A row with so many ranges stays below its 64 KiB: 2 × 16 digits and 20 bytes of JSON each. */
export const GAP_RANGES_MAX = 1000;

export function typeOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
}

/** Whatever the parts below throw, as one code. */
export function refusing<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (isSluiceError(cause) && cause.code.startsWith('control.')) throw cause;
    const message = cause instanceof Error ? cause.message : 'not understood';
    throw new SluiceError(CONTROL_MALFORMED, 'discard', message, { cause });
  }
}

export class Fields {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #code: string;

  /** @param code of the errors this throws, recovery discard. */
  constructor(value: unknown, code: string, known: readonly string[]) {
    this.#code = code;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.#refuse('not an object');
    this.#fields = new Map<string, unknown>(Object.entries(value));
    for (const key of this.#fields.keys())
      if (!known.includes(key)) throw this.#refuse(`${key.slice(0, 40)} is not known`);
  }

  has(key: string): boolean {
    return this.#fields.has(key);
  }

  raw(key: string): unknown {
    return this.#fields.get(key);
  }

  text(key: string, lengthMax: number): string {
    const value = this.raw(key);
    if (typeof value !== 'string' || value.length > lengthMax)
      throw this.#refuse(`${key} is no text up to ${lengthMax}`);
    return value;
  }

  /** Lower-case hex of this many bytes. */
  hex(key: string, byteCount: number): string {
    const value = this.raw(key);
    if (typeof value !== 'string' || value.length !== byteCount * 2 || !/^[0-9a-f]*$/.test(value)) {
      throw this.#refuse(`${key} is not ${byteCount} bytes in hex`);
    }
    return value;
  }

  integer(key: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.raw(key);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
      throw this.#refuse(`${key} is no integer from ${min} to ${max}`);
    }
    return value;
  }

  /** JSON can say 1e999, which is Infinity. */
  number(key: string): number {
    const value = this.raw(key);
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.#refuse(`${key} is no number`);
    return value;
  }

  numberOrNull(key: string): number | null {
    return this.raw(key) === null ? null : this.number(key);
  }

  boolean(key: string): boolean {
    const value = this.raw(key);
    if (typeof value !== 'boolean') throw this.#refuse(`${key} is neither true nor false`);
    return value;
  }

  oneOf<T extends string | number>(key: string, values: readonly T[]): T {
    const value = this.raw(key);
    const found = values.find((candidate) => candidate === value);
    if (found === undefined) throw this.#refuse(`${key} is none of ${values.join(', ')}`);
    return found;
  }

  #refuse(message: string): SluiceError {
    return new SluiceError(this.#code, 'discard', message);
  }
}
