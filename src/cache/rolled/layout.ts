/**
 * How a rolled block lies on the disk: many committed blocks of one run and class as one, where each tag opens alone.
 *
 *     form u8 (2; 1 is a committed block, packed) | version u8
 *     directory: packed length u32, plain length u32 | numbers: packed length u32, plain length u32
 *     directory, packed | CRC-32C u32 over all before
 *     numbers, packed   | CRC-32C u32 over the numbers
 *     a section a tag, end to end
 *
 * The *directory* says of each tag: number, kind, rows, and what of its streams (`STREAMS` of the wire's block, as for a block
 * of this tag alone) is where. A stream of up to `SHORT_BYTES` stands in the directory itself, beside the same stream of the
 * other tags, where it compresses; a longer one is in the tag's *section*, coded as `coding.ts` says; its length and CRC-32C
 * are in the directory. A tag whose times are those of an earlier tag has none of its own and names that tag instead. Times
 * that are lent in this way are a part of their own at the beginning of the section, with length and CRC-32C of its own.
 *
 * The *numbers* are the chunks and their rows a tag: what `n` a row has. Who only wants values does not read them.
 *
 * Damage anywhere costs what it touches: values their tag, times the tags that have them, the numbers the whole block as a
 * journal entry, the directory everything. What is left can be written again without opening it (`without.ts`). Nothing is
 * believed before its checksum, and no length is allocated for before it was found possible.
 */
import { SluiceError } from '../../errors.ts';
import { STREAMS, type StreamName } from '../../wire/block/layout.ts';
import { CODEC, compress, decompress } from '../../wire/compress.ts';

export const ROLLED_FORM = 2;
export const ROLLED_VERSION = 1;
export const HEADER_BYTES = 18;
export const CRC_BYTES = 4;
/** Large enough for columns to compress well; what one flipped byte of the directory can cost. */
export const ROLLED_ROWS_MAX = 65_536;
/** Of a directory or the numbers: 65,536 tags of a row each stay far below. */
export const PART_BYTES_MAX = 64 * 1024 * 1024;
/** First values, modes and periods: longer streams gain more from a coding of their own. */
export const SHORT_BYTES = 8;

const DIRECTORY_STREAMS: ReadonlySet<StreamName> = new Set(['chunks', 'tags', 'kinds', 'counts']);
export const isTimes = (name: StreamName): boolean => name.startsWith('time');
/** Of one tag; those of its times first, so that another tag can read just these. */
export const TAG_STREAMS: readonly StreamName[] = STREAMS.filter((name) => !DIRECTORY_STREAMS.has(name)).sort(
  (a, b) => Number(isTimes(b)) - Number(isTimes(a)),
);
/** How many of them are of times. */
export const TIME_STREAMS = TAG_STREAMS.filter(isTimes).length;

/** Brotli's best size for its time on a few KB of columns. */
const PART_QUALITY = 5;

/** Brotli, or as it is where that is no longer: equal lengths say which. */
export function packPart(plain: Uint8Array): Uint8Array {
  const packed = compress(plain, CODEC.brotli, PART_QUALITY);
  return packed.length < plain.length ? packed : plain;
}

export function unpackPart(packed: Uint8Array, plainLength: number): Uint8Array {
  const codec = packed.length === plainLength ? CODEC.stored : CODEC.brotli;
  return decompress(packed, codec, plainLength, PART_BYTES_MAX);
}

export function damagedRolled(message: string): SluiceError {
  return new SluiceError('rolled.damaged', 'discard', `a rolled block: ${message}`);
}
