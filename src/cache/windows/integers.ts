/** 64-bit counters as float64, for statistics; the rows at hand only. */
export function asNumbers(
  value: Float64Array,
  order: Uint32Array,
  start: number,
  end: number,
  kind: 'int64' | 'uint64',
): Float64Array {
  const View = kind === 'int64' ? BigInt64Array : BigUint64Array;
  const slots = new View(value.buffer as ArrayBuffer, value.byteOffset, value.length);
  const out = new Float64Array(value.length);
  for (let i = start; i < end; i++) {
    const row = order[i] as number; // in bounds
    out[row] = Number(slots[row]);
  }
  return out;
}
