/** A unit's tables as its server sends them: values packed into registers in the unit's byte order. */
import type { PlainValue } from '../reading.ts';
import type { PlantTag } from './tags.ts';

export type PlantTable = 'coil' | 'discrete' | 'input' | 'holding';

/** What a unit has of each table; whatever lies beyond is answered with exception 2. */
export const REGISTERS_MAX = 40;
export const BITS_MAX = 16;

export class RegisterImage {
  readonly coil = new Uint8Array(BITS_MAX);
  readonly discrete = new Uint8Array(BITS_MAX);
  readonly input = new Uint16Array(REGISTERS_MAX);
  readonly holding = new Uint16Array(REGISTERS_MAX);

  /** Puts a value where its tag lies; a scaled one as its count. */
  write(tag: PlantTag, value: PlainValue): void {
    const [table, at] = placeOf(tag);
    if (table === 'coil' || table === 'discrete') {
      this[table][at] = value === true ? 1 : 0;
    } else if (tag.bit !== undefined) {
      // Bit 0 is the least significant of the value, which with swapped bytes is in the register's upper half.
      const mask = 1 << (tag.order === 'DCBA' ? tag.bit ^ 8 : tag.bit);
      const before = this[table][at] ?? 0;
      this[table][at] = value === true ? before | mask : before & ~mask;
    } else {
      this[table].set(wordsOf(tag, value), at);
    }
  }
}

export function placeOf(tag: PlantTag): [PlantTable, number] {
  const [table, address] = tag.register.split(':');
  if (table === 'coil' || table === 'discrete' || table === 'input' || table === 'holding') {
    return [table, Number(address)];
  }
  throw new RangeError(`${tag.register} is no register of the plant`);
}

function wordsOf(tag: PlantTag, value: PlainValue): number[] {
  const isText = tag.type === 'text';
  const bytes = isText ? textBytes(String(value), tag.length ?? 0) : numberBytes(tag, value);
  const words: number[] = [];
  for (let at = 0; at < bytes.byteLength; at += 2) words.push(bytes.getUint16(at, tag.order === 'DCBA'));
  // Text runs with the registers in every order.
  return isText || tag.order === 'ABCD' ? words : words.reverse();
}

function textBytes(text: string, registers: number): DataView {
  const bytes = new Uint8Array(registers * 2);
  new TextEncoder().encodeInto(text, bytes);
  return new DataView(bytes.buffer);
}

/** Big endian. */
function numberBytes(tag: PlantTag, value: PlainValue): DataView {
  const bytes = new DataView(new ArrayBuffer(8));
  const number = tag.scale === undefined ? Number(value) : Math.round(Number(value) / tag.scale);
  switch (tag.type) {
    case 'int16':
    case 'uint16':
      bytes.setInt16(0, number);
      return new DataView(bytes.buffer, 0, 2);
    case 'int32':
    case 'uint32':
      bytes.setInt32(0, number);
      return new DataView(bytes.buffer, 0, 4);
    case 'float32':
      bytes.setFloat32(0, number);
      return new DataView(bytes.buffer, 0, 4);
    case 'float64':
      bytes.setFloat64(0, number);
      return bytes;
    default:
      bytes.setBigInt64(0, typeof value === 'bigint' ? value : BigInt(Math.round(number)));
      return bytes;
  }
}
