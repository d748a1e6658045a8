/**
 * What a write-ahead log holds, looked at before SQLite opens it (sqlite.org/fileformat2.html, section 4). SQLite takes the
 * frames up to the first one whose checksum fails, back to a commit, and forgets the rest without a word; here the rest is
 * counted.
 *
 * A log: a header of 32 bytes (magic 4, version 4, page size 4, sequence 4, salts 8, checksum 8), then frames: a header of
 * 24 bytes (page 4, pages of the database after a commit or 0 4, salts 8, checksum 8) and the page. A checksum goes on from
 * the one of the frame before, so that frames behind a bad one can be judged again by the checksum that stands in it.
 * Frames of an earlier generation stand behind the end; their salts are others.
 */

export const WAL_HEADER_BYTES = 32;
export const FRAME_HEADER_BYTES = 24;
const MAGIC_LITTLE = 0x377f_0682;
const MAGIC_BIG = 0x377f_0683;
const FORMAT = 3_007_000;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;
/** A frame whose salts are off by no more than this many bits is one of this generation that was damaged there. */
const SALT_BITS_OFF_MAX = 2;

/** Fills `into` from byte `at` on. @returns how many bytes there were. */
export type ReadAt = (at: number, into: Uint8Array) => number;

export interface WalFrame {
  /** Byte of its header in the log. */
  readonly at: number;
  readonly page: number;
  /** Pages of the database after this commit; 0 in frames that end none. */
  readonly pagesAfter: number;
  /** Its checksum fits what stands before it, and its salts are those of the log. */
  readonly sound: boolean;
}

export interface WalScan {
  /** False also where there is no log, or an empty one. */
  readonly headerSound: boolean;
  readonly pageBytes: number;
  /** Of the log's own generation, sound or not, up to the last that can be recognised. */
  readonly frames: readonly WalFrame[];
  /** So many of them does SQLite take: up to the last commit before the first bad one. */
  readonly kept: number;
  /** Commits that stand behind those: what is lost, at most. */
  readonly lostCommits: number;
}

const NOTHING: WalScan = { headerSound: false, pageBytes: 0, frames: [], kept: 0, lostCommits: 0 };

/** @param pageBytes of the database, for a log whose own header is damaged; 0 when that is not known either. */
export function scanWal(read: ReadAt, walBytes: number, pageBytes = 0): WalScan {
  const header = new Uint8Array(WAL_HEADER_BYTES);
  if (read(0, header) < WAL_HEADER_BYTES) return NOTHING;
  const found = parseHeader(header) ?? guessHeader(read, header, pageBytes);
  if (found === undefined) return NOTHING;
  const frames = readFrames(read, walBytes, found);
  // Where even the header is a guess, rubbish must not pass for frames.
  if (!found.sound && !frames.some(({ sound }) => sound)) return NOTHING;
  const kept = found.sound ? keptFrames(frames) : 0;
  return { headerSound: found.sound, pageBytes: found.pageBytes, frames, kept, lostCommits: lost(frames, kept) };
}

interface Header {
  readonly sound: boolean;
  readonly little: boolean;
  readonly pageBytes: number;
  readonly salts: readonly [number, number];
  readonly sum: readonly [number, number];
}

function isPageSize(bytes: number): boolean {
  return bytes >= PAGE_BYTES_MIN && bytes <= PAGE_BYTES_MAX && (bytes & (bytes - 1)) === 0;
}

function parseHeader(bytes: Uint8Array): Header | undefined {
  const view = viewOf(bytes);
  const magic = view.getUint32(0);
  const pageBytes = view.getUint32(8);
  if ((magic !== MAGIC_LITTLE && magic !== MAGIC_BIG) || view.getUint32(4) !== FORMAT) return undefined;
  if (!isPageSize(pageBytes)) return undefined;
  const little = magic === MAGIC_LITTLE;
  const sum = checksum(bytes.subarray(0, 24), little, [0, 0]);
  if (sum[0] !== view.getUint32(24) || sum[1] !== view.getUint32(28)) return undefined;
  return { sound: true, little, pageBytes, salts: [view.getUint32(16), view.getUint32(20)], sum };
}

/** From what the first frame says: SQLite reads nothing of such a log, but what it held shall be known. */
function guessHeader(read: ReadAt, header: Uint8Array, databasePageBytes: number): Header | undefined {
  const view = viewOf(header);
  const own = view.getUint32(8);
  const pageBytes = isPageSize(databasePageBytes) ? databasePageBytes : own;
  if (!isPageSize(pageBytes)) return undefined;
  const first = new Uint8Array(FRAME_HEADER_BYTES);
  if (read(WAL_HEADER_BYTES, first) < FRAME_HEADER_BYTES) return undefined;
  const salts = [viewOf(first).getUint32(8), viewOf(first).getUint32(12)] as const;
  if (salts[0] === 0 && salts[1] === 0) return undefined;
  const little = (view.getUint32(0) & 1) === 0;
  return { sound: false, little, pageBytes, salts, sum: [view.getUint32(24), view.getUint32(28)] };
}

function readFrames(read: ReadAt, walBytes: number, header: Header): WalFrame[] {
  const { pageBytes, little, salts } = header;
  const frames: WalFrame[] = [];
  const frame = new Uint8Array(FRAME_HEADER_BYTES + pageBytes);
  const view = viewOf(frame);
  let before = header.sum;
  let last = 0;
  for (let at = WAL_HEADER_BYTES; at + frame.length <= walBytes; at += frame.length) {
    if (read(at, frame) < frame.length) break;
    const off = bitsOff(view.getUint32(8), salts[0]) + bitsOff(view.getUint32(12), salts[1]);
    const page = view.getUint32(0);
    const stored = [view.getUint32(16), view.getUint32(20)] as const;
    // A generation is over for good where nothing of it follows; frames of others are not worth a checksum.
    const mine = off <= SALT_BITS_OFF_MAX;
    let sound = false;
    if (mine) {
      const sum = checksum(frame.subarray(FRAME_HEADER_BYTES), little, checksum(frame.subarray(0, 8), little, before));
      sound = off === 0 && page > 0 && sum[0] === stored[0] && sum[1] === stored[1];
    }
    const isFirstBad = mine && !sound && last === frames.length && (frames.at(-1)?.sound ?? true);
    const pagesAfter = isFirstBad ? pagesAfterCorrected(frame, little, before) : view.getUint32(4);
    frames.push({ at, page, pagesAfter: mine ? pagesAfter : 0, sound });
    if (mine) last = frames.length;
    before = stored;
  }
  return frames.slice(0, last);
}

function keptFrames(frames: readonly WalFrame[]): number {
  let kept = 0;
  for (const [at, { sound, pagesAfter }] of frames.entries()) {
    if (!sound) break;
    if (pagesAfter > 0) kept = at + 1;
  }
  return kept;
}

/** A flipped bit may hide that a frame was a commit: the one whose correction makes the checksum right tells. */
function pagesAfterCorrected(frame: Uint8Array, little: boolean, before: readonly [number, number]): number {
  const view = viewOf(frame);
  const start = frame.slice(0, 8);
  const said = view.getUint32(4);
  for (let bit = 0; said === 0 && bit < 32; bit++) {
    const pages = (1 << bit) >>> 0;
    viewOf(start).setUint32(4, pages);
    const sum = checksum(frame.subarray(FRAME_HEADER_BYTES), little, checksum(start, little, before));
    if (sum[0] === view.getUint32(16) && sum[1] === view.getUint32(20)) return pages;
  }
  return said;
}

/** Frames without a commit are what a transaction leaves that was rolled back, or never ended. */
function lost(frames: readonly WalFrame[], kept: number): number {
  return frames.slice(kept).filter(({ pagesAfter }) => pagesAfter > 0).length;
}

function bitsOff(a: number, b: number): number {
  let bits = 0;
  for (let rest = (a ^ b) >>> 0; rest !== 0; rest = (rest & (rest - 1)) >>> 0) bits++;
  return bits;
}

/** Two sums over pairs of 32-bit words, as section 4.2 has it. */
export function checksum(bytes: Uint8Array, little: boolean, seed: readonly [number, number]): [number, number] {
  let [a, b] = [seed[0] | 0, seed[1] | 0];
  const view = viewOf(bytes);
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    a = (a + view.getUint32(at, little) + b) | 0;
    b = (b + view.getUint32(at + 4, little) + a) | 0;
  }
  return [a >>> 0, b >>> 0];
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
