/**
 * The log beside a database that is about to be opened: what SQLite will take of it, what it will not, and whether that
 * fits the file. Pages that a checkpoint has copied into the file already are newer than a log that ends too early:
 * SQLite would lay old pages over them, and the database would be neither the one nor the other.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { FRAME_HEADER_BYTES, type ReadAt, scanWal, type WalFrame, type WalScan } from './wal-scan.ts';

/** Offsets in the header of the file (fileformat2.html, 1.3). */
const PAGE_SIZE_AT = 16;
const CHANGE_COUNTER_AT = 24;
const PAGES_AT = 28;
/** Not 0 where the file may shrink; ours never does. */
const AUTO_VACUUM_AT = 52;
const FILE_HEADER_BYTES = 100;

export interface WalFinding {
  /**
   * `sound`: SQLite does the right thing. `cut`: it does, and what stands behind is lost. `ahead`: the file holds more
   * than what is left of the log, which must not be laid over it.
   */
  readonly kind: 'sound' | 'cut' | 'ahead';
  /** At most: the last one may have been under way, and acknowledged to nobody. */
  readonly lostCommits: number;
}

/** @param file of the database. Reads only. */
export function checkWal(file: string): WalFinding {
  const wal = `${file}-wal`;
  if (!existsSync(file) || !existsSync(wal)) return { kind: 'sound', lostCommits: 0 };
  return withFile(wal, (readWal, walBytes) =>
    withFile(file, (readFile) => {
      const header = new DataView(new ArrayBuffer(FILE_HEADER_BYTES));
      readFile(0, new Uint8Array(header.buffer));
      const stored = header.getUint16(PAGE_SIZE_AT);
      const scan = scanWal(readWal, walBytes, stored === 1 ? 65_536 : stored);
      const ahead = fileIsAhead(scan, readWal, readFile, header);
      if (ahead !== undefined) return { kind: 'ahead', lostCommits: ahead === 'whole' ? 0 : scan.lostCommits };
      return { kind: scan.lostCommits > 0 ? 'cut' : 'sound', lostCommits: scan.lostCommits };
    }),
  );
}

/** `whole` when every page of the log that can be read stands in the file as its last frame has it. */
function fileIsAhead(
  scan: WalScan,
  readWal: ReadAt,
  readFile: ReadAt,
  header: DataView,
): 'whole' | 'partly' | undefined {
  const kept = lastOfEachPage(scan.frames.slice(0, scan.kept));
  const behind = lastOfEachPage(scan.frames.slice(scan.kept).filter(({ sound }) => sound));
  const same = (frame: WalFrame) => isInFile(frame, scan.pageBytes, readWal, readFile);
  const isWhole = () => [...new Map([...kept, ...behind]).values()].every(same);
  if (isLonger(scan, header) || countsFurther(kept.get(1), readWal, header)) return isWhole() ? 'whole' : 'partly';
  if (scan.lostCommits === 0) return undefined;
  // A page may be written without a change: only one that SQLite would take back tells that it was copied.
  const isTakenBack = (frame: WalFrame) => {
    const earlier = kept.get(frame.page);
    return earlier !== undefined && same(frame) && !same(earlier);
  };
  if ([...behind.values()].some(isTakenBack)) return isWhole() ? 'whole' : 'partly';
  return behind.size > 0 && isWhole() ? 'whole' : undefined;
}

function lastOfEachPage(frames: readonly WalFrame[]): Map<number, WalFrame> {
  return new Map(frames.map((frame) => [frame.page, frame]));
}

/** A log that was cut off leaves these two traces only: the file has grown beyond what it says, or counts more changes. */
function isLonger({ frames, kept }: WalScan, header: DataView): boolean {
  const pages = frames[kept - 1]?.pagesAfter;
  return pages !== undefined && header.getUint32(AUTO_VACUUM_AT) === 0 && header.getUint32(PAGES_AT) > pages;
}

/** Page 1 counts the changes of how many pages there are and which are free. */
function countsFurther(first: WalFrame | undefined, readWal: ReadAt, header: DataView): boolean {
  if (first === undefined) return false;
  const page = new Uint8Array(FILE_HEADER_BYTES);
  readWal(first.at + FRAME_HEADER_BYTES, page);
  return header.getUint32(CHANGE_COUNTER_AT) > new DataView(page.buffer).getUint32(CHANGE_COUNTER_AT);
}

function isInFile({ at, page }: WalFrame, pageBytes: number, readWal: ReadAt, readFile: ReadAt): boolean {
  const [logged, there] = [new Uint8Array(pageBytes), new Uint8Array(pageBytes)];
  readWal(at + FRAME_HEADER_BYTES, logged);
  return readFile((page - 1) * pageBytes, there) === pageBytes && Buffer.compare(logged, there) === 0;
}

function withFile<T>(path: string, work: (read: ReadAt, bytes: number) => T): T {
  const handle = openSync(path, 'r');
  try {
    return work((at, into) => readSync(handle, into, 0, into.length, at), fstatSync(handle).size);
  } finally {
    closeSync(handle);
  }
}
