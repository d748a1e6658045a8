/** The lines of `sluice status` about the disk: how full, what is done about it, what is written to it. */
import type { PendingView, WearStats } from '../cache/index.ts';
import type { CacheStats, LadderState } from '../cache/types.ts';
import { ladderAction, ladderCause, ladderRemedy } from '../pipeline/index.ts';
import { bytes, type Output, span } from './output.ts';

const YEARS_SHOWN_MAX = 100;

export function printStorage(cache: CacheStats, pending: readonly PendingView[], nowMs: number, output: Output): void {
  output.line(`disk       ${bytes(cache.bytesUsed)} of ${bytes(cache.bytesMax)}${cache.full ? ', FULL' : ''}`);
  const { ladder, writeBudget } = cache;
  const oldestMs = Math.min(...pending.map((each) => each.oldestMs));
  const oldest = Number.isFinite(oldestMs) ? `, the oldest ${span(Math.max(0, nowMs - oldestMs))}` : '';
  const share = `${Math.round(ladder.disk * 100)} % of ${bytes(cache.bytesMax)} waits for the cloud${oldest}`;
  output.line(`storage    level ${ladder.level} of 5: ${share}`);
  if (ladder.level > 0) {
    if (ladder.cause !== 'disk') output.line(`           ${ladderCause(ladder)}`);
    output.line(`           what is done: ${ladderAction(ladder.level)}`);
    output.line(`           → ${ladderRemedy(ladder)}`);
  }
  if (writeBudget?.isStretched === true) {
    const budget = bytes(writeBudget.bytesADay);
    output.line(`           today's write budget of ${budget} is used up: hurried commits are 250 ms apart`);
  }
}

/** Of a gateway that does not tell how it is now. */
export function printLadder(ladder: LadderState, output: Output): void {
  if (ladder.level === 0) return;
  output.line(`storage    level ${ladder.level} of 5 after its last step: ${ladderCause(ladder)}`);
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
  output.line(`wear       ${bytes(perDay)} a day written to disk${each} (by the last ${span(observedMs)})`);
  const card = `a card that bears ${bytes(endurance)}${isAssumed ? ' (assumed: set cache.endurance)' : ''}`;
  if (years !== undefined) output.line(`           ${card} lasts ${yearsText(years)} at that`);
}

function yearsText(years: number): string {
  if (years > YEARS_SHOWN_MAX) return `more than ${YEARS_SHOWN_MAX} years`;
  return years < 2 ? `${(years * 12).toFixed(0)} months` : `${years.toFixed(0)} years`;
}
