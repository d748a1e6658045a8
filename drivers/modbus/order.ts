/**
 * Byte orders by the names on data sheets: the letters are the value's bytes from most to least significant, written in
 * the order in which they stand on the wire. Each short name is a rule that holds for every width:
 *
 * | short | rule                    | 16 bit | 32 bit | 64 bit   |
 * | ABCD  | big endian              | AB     | ABCD   | ABCDEFGH |
 * | CDAB  | words reversed          | AB     | CDAB   | GHEFCDAB |
 * | BADC  | bytes swapped in words  | BA     | BADC   | BADCFEHG |
 * | DCBA  | both: little endian     | BA     | DCBA   | HGFEDCBA |
 *
 * For 64 bits there are four more, from devices that treat a value as two of 32 bits: `CDABGHEF` (words swapped in each
 * half), `EFGHABCD` (halves swapped), and these with bytes swapped, `DCBAHGFE` and `FEHGBADC`.
 *
 * Text stands in register order, first character first; BADC and DCBA swap the two characters of each register.
 */

export const SHORT_ORDERS = ['ABCD', 'CDAB', 'BADC', 'DCBA'] as const;
export const ORDERS_64 = [
  'ABCDEFGH',
  'GHEFCDAB',
  'BADCFEHG',
  'HGFEDCBA',
  'CDABGHEF',
  'EFGHABCD',
  'DCBAHGFE',
  'FEHGBADC',
] as const;
export const ORDERS = [...SHORT_ORDERS, ...ORDERS_64] as const;
export type ShortOrder = (typeof SHORT_ORDERS)[number];
export type Order = (typeof ORDERS)[number];

/** Whether an order's name says how 64 bits lie, and so fits nothing else. */
export function isOrder64(order: Order): boolean {
  return order.length === 8;
}

/** Whether the bytes within each register are swapped. */
export function swapsBytes(order: Order): boolean {
  return order.indexOf('A') > order.indexOf('B');
}

/**
 * Where each byte of a number lies on the wire.
 * @param byteCount 2, 4 or 8
 * @returns positions from the first byte on the wire, most significant byte first.
 */
export function bytePositions(order: Order, byteCount: number): number[] {
  return Array.from({ length: byteCount }, (_, rank) => positionOf(order, byteCount, rank));
}

function positionOf(order: Order, byteCount: number, rank: number): number {
  if (isOrder64(order)) return order.indexOf(String.fromCharCode('A'.charCodeAt(0) + rank));
  const reversed = order === 'CDAB' || order === 'DCBA';
  const word = rank >> 1;
  const wordOnWire = reversed ? byteCount / 2 - 1 - word : word;
  return wordOnWire * 2 + (swapsBytes(order) ? 1 - (rank & 1) : rank & 1);
}
