/** From what a message says to the slot of a tag's type, strictly: what does not fit is refused with a reason. */
import type { ValueType } from '../../src/reading.ts';

export type Slot = number | bigint | string;

/** Why a value was not taken, for the dead letter. */
export class Refusal {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

/** A row on the wire stays under 64 KiB; this leaves room for its neighbours in the encoding. */
const TEXT_BYTES_MAX = 60_000;

const INTEGER_RANGES: Partial<Record<ValueType, readonly [number, number]>> = {
  int16: [-(2 ** 15), 2 ** 15 - 1],
  uint16: [0, 2 ** 16 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
};
const INT64_RANGE = [-(2n ** 63n), 2n ** 63n - 1n] as const;
const UINT64_RANGE = [0n, 2n ** 64n - 1n] as const;
const DECIMAL_INTEGER = /^-?\d{1,20}$/;
const DECIMAL_NUMBER = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/;
const SHOWN_CHARACTERS = 40;

/** @param input what JSON.parse gave, or the text of a plain payload. Null is not decided here: it is a reading without a value. */
export function toSlot(input: unknown, type: ValueType): Slot | Refusal {
  switch (type) {
    case 'float64':
      return typeof input === 'number' && Number.isFinite(input) ? input : notA('finite number', input);
    case 'float32': {
      if (typeof input !== 'number') return notA('finite number', input);
      const rounded = Math.fround(input);
      return Number.isFinite(rounded) ? rounded : notA('float32', input);
    }
    case 'bool':
      return toBool(input);
    case 'text':
      if (typeof input !== 'string') return notA('text', input);
      return Buffer.byteLength(input) <= TEXT_BYTES_MAX ? input : new Refusal(`text over ${TEXT_BYTES_MAX} bytes`);
    case 'int64':
      return toInteger64(input, INT64_RANGE, type);
    case 'uint64':
      return toInteger64(input, UINT64_RANGE, type);
    default: {
      const [low, high] = INTEGER_RANGES[type] ?? [0, 0];
      const fits = typeof input === 'number' && Number.isInteger(input) && input >= low && input <= high;
      return fits ? input : notA(type, input);
    }
  }
}

/** The text of a `payload: number` or `payload: bool` message, as JSON would have given it. */
export function parsePlain(text: string, payload: 'number' | 'bool' | 'text', type: ValueType): unknown {
  if (payload === 'text') return text;
  const trimmed = text.trim();
  if (payload === 'bool')
    return /^(true|on|1)$/i.test(trimmed) ? true : /^(false|off|0)$/i.test(trimmed) ? false : text;
  if (type === 'int64' || type === 'uint64') return trimmed;
  return DECIMAL_NUMBER.test(trimmed) ? Number(trimmed) : text;
}

function toBool(input: unknown): Slot | Refusal {
  if (input === true || input === 1) return 1;
  if (input === false || input === 0) return 0;
  return notA('bool', input);
}

function toInteger64(input: unknown, range: readonly [bigint, bigint], type: ValueType): Slot | Refusal {
  let value: bigint;
  if (typeof input === 'string' && DECIMAL_INTEGER.test(input)) value = BigInt(input);
  else if (typeof input === 'number' && Number.isSafeInteger(input)) value = BigInt(input);
  else if (typeof input === 'number' && Number.isInteger(input)) {
    return new Refusal(`${input} has lost digits: write integers beyond 2^53 as text`);
  } else return notA(type, input);
  return value >= range[0] && value <= range[1] ? value : notA(type, input);
}

function notA(wanted: string, input: unknown): Refusal {
  const text = typeof input === 'string' ? JSON.stringify(input.slice(0, SHOWN_CHARACTERS)) : kindOf(input);
  return new Refusal(`not a ${wanted}: ${text}`);
}

function kindOf(input: unknown): string {
  if (Array.isArray(input)) return 'an array';
  return typeof input === 'object' ? 'an object' : String(input);
}
