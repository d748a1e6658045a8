/** The lines of `sluice status` about the disk: how full, what is done about it, what is written to it. */
import { type PendingView, readersText, type StorageView, type WearStats } from '../cache/index.ts';
import type { CacheStats, LadderState } from '../cache/types.ts';
import { ladderAction, ladderCause, ladderRemedy } from '../pipeline/index.ts';
import { bytes, fold, labelled, MARGIN, type Output, span } from './output.ts';

const YEARS_SHOWN_MAX = 100;
/** Of running; a shorter time says little about a day, and nothing about years. */
const MEASURED_MS_MIN = 3_600_000;
/** About what a commit and its checkpoint want. */
const SHORT_BYTES = 1_000_000;

/** What the files take, and who keeps the log of them from shrinking. */
export interface DiskView extends StorageView {
  readonly logReaders: readonly { readonly pid: number; readonly name: string | undefined }[];
}

export function printStorage(
  cache: CacheStats,
  pending: readonly PendingView[],
  nowMs: number,
  output: Output,
  disk?: DiskView,
): void {
  const free = disk === undefined ? '' : `, ${bytes(disk.freeBytes)} free on the disk`;
  const full = cache.full ? ', FULL' : '';
  output.line(labelled('disk', `${bytes(cache.bytesUsed)} of ${bytes(cache.bytesMax)}${full}${free}`));
  if (disk !== undefined) printShort(disk, output);
  if (disk !== undefined) printLog(disk, output);
  const { ladder, writeBudget } = cache;
  const oldestMs = Math.min(...pending.map((each) => each.oldestMs));
  const oldest = Number.isFinite(oldestMs) ? `, the oldest ${span(Math.max(0, nowMs - oldestMs))}` : '';
  const share = `${Math.round(ladder.disk * 100)} % of ${bytes(cache.bytesMax)} waits for the cloud${oldest}`;
  output.line(labelled('storage', `level ${ladder.level} of 5: ${share}`));
  if (ladder.level > 0) {
    if (ladder.cause !== 'disk') output.line(fold(ladderCause(ladder), MARGIN));
    output.line(fold(`what is done: ${ladderAction(ladder.level)}`, MARGIN));
    output.line(fold(ladderRemedy(ladder), MARGIN, '→ '));
  }
  if (writeBudget?.isStretched === true) {
    const budget = bytes(writeBudget.bytesADay);
    output.line(fold(`today's write budget of ${budget} is used up: hurried commits are 250 ms apart`, MARGIN));
  }
}

/** Of a gateway that does not tell how it is now: what its files tell. */
export function printDisk(disk: DiskView, bytesMax: number | undefined, output: Output): void {
  const most = bytesMax === undefined ? '' : ` of ${bytes(bytesMax)}`;
  const log = disk.logBytes === 0 ? '' : `, and a log of ${bytes(disk.logBytes)}`;
  const text = `a file of ${bytes(disk.fileBytes)}${most}${log}; ${bytes(disk.freeBytes)} free on the disk`;
  output.line(labelled('disk', text));
  printShort(disk, output);
  printLog(disk, output);
}

/** The ladder presses only where the cloud still waits; history goes without a word of it. */
function printShort({ freeBytes }: DiskView, output: Output): void {
  if (freeBytes >= SHORT_BYTES) return;
  output.line(fold('the disk is full: what was delivered gives way to what comes', MARGIN));
  output.line(fold('free space on it', MARGIN, '→ '));
}

function printLog({ logPinned, logBytes, logReaders }: DiskView, output: Output): void {
  if (!logPinned) return;
  const text = `the log has grown to ${bytes(logBytes)}: ${readersText(logReaders)} reads the cache and does not end`;
  output.line(fold(text, MARGIN));
  const which = logReaders.length > 0 ? 'end it' : 'find it by fuser on cache.db-shm, and end it';
  output.line(fold(`${which}: until then the log takes room from readings`, MARGIN, '→ '));
}

export function printLadder(ladder: LadderState, output: Output): void {
  if (ladder.level === 0) return;
  output.line(labelled('storage', `level ${ladder.level} of 5 after its last step: ${ladderCause(ladder)}`));
}

export function printWear(wear: WearStats, output: Output): void {
  const { perDay, perReading, observedMs, endurance, isAssumed, years } = wear;
  if (perDay === undefined) {
    const isSoon = observedMs > 0 && observedMs < 120_000;
    const why = isSoon
      ? 'known after a minute of running'
      : 'unknown: no count of written bytes on this system, or none yet';
    output.line(`wear       ${why}`);
    return;
  }
  const each = perReading === undefined ? '' : `, ${perReading.toFixed(0)} B a reading`;
  const isShort = observedMs < MEASURED_MS_MIN;
  const by = isShort ? `measured over ${span(observedMs)}` : `by the last ${span(observedMs)}`;
  output.line(labelled('wear', `${bytes(perDay)} a day written to disk${each} (${by})`));
  if (isShort) {
    output.line(`${MARGIN}how long a card lasts at that is said after an hour of running`);
    return;
  }
  const card = `a card that bears ${bytes(endurance)}${isAssumed ? ' (assumed: set cache.endurance)' : ''}`;
  if (years !== undefined) output.line(fold(`${card} lasts ${yearsText(years)} at that`, MARGIN));
}

function yearsText(years: number): string {
  if (years > YEARS_SHOWN_MAX) return `more than ${YEARS_SHOWN_MAX} years`;
  return years < 2 ? `${(years * 12).toFixed(0)} months` : `${years.toFixed(0)} years`;
}
