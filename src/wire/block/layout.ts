/** What encoder and decoder agree on: the order of the streams, and what goes around them. */
import { SluiceError } from '../../errors.ts';

export const BLOCK_VERSION = 1;
export const CRC_BYTES = 4;

/** In this order in the block. */
export const STREAMS = [
  'chunks',
  'tags',
  'kinds',
  'counts',
  'qualities',
  'timeModes',
  'timeBases0',
  'timeBases1',
  'timeBases2',
  'timePeriods',
  'timeResiduals',
  'timeRaw',
  'valueModes',
  'valueFirsts0',
  'valueFirsts1',
  'valueFirsts2',
  'valueSlopes',
  'valueDeltas',
  'floats',
  'doubles',
  'integers',
  'bools',
  'textIndexes',
  'texts',
] as const;
export type StreamName = (typeof STREAMS)[number];

export function eachStream<T>(make: (name: StreamName) => T): Record<StreamName, T> {
  const streams: Partial<Record<StreamName, T>> = {};
  for (const name of STREAMS) streams[name] = make(name);
  // All keys are there now, which the compiler cannot see.
  return streams as Record<StreamName, T>;
}

/** Whether no row of a span is of bad quality: then all of them have values. */
export function noneBad(quality: Uint8Array, start: number, end: number): boolean {
  let all = 0;
  for (let row = start; row < end; row++) all |= quality[row] as number;
  // Bit 6 is set in bad qualities only (status 2 in bits 5–6).
  return (all & 0x40) === 0;
}

export function requireVersion(bytes: Uint8Array): void {
  if (bytes[0] !== BLOCK_VERSION) {
    throw new SluiceError('block.version_unknown', 'discard', `a block of version ${bytes[0]}`);
  }
}
