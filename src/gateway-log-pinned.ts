/**
 * A process that reads the cache's file and does not end its snapshot keeps the log beside it from being written back: it
 * grows, and takes room from the readings. Nobody but a person can end that process, so it is an alarm that names it.
 */
import { logReaders, readersText, storageView } from './cache/index.ts';
import type { Pipeline } from './pipeline/index.ts';
import type { Clock, Timer } from './runtime/clock.ts';

const ALARM = 'storage/log_pinned';
/** A log that is large for a moment is none that is held: it has to be so twice. */
const LOOK_MS = 60_000;
const MB = 1e6;

export interface LogWatched {
  /** The cache's folder. */
  readonly path: string;
  readonly pipeline: Pick<Pipeline, 'gatewayAlarm'>;
  readonly clock: Pick<Clock, 'after'>;
}

export function watchLog({ path, pipeline, clock }: LogWatched): { stop(): void } {
  let before = false;
  let isRaised = false;
  let timer: Timer | undefined;
  const look = () => {
    timer = clock.after(LOOK_MS, look);
    const { pinned, bytes } = logOf(path);
    if (pinned && before) {
      isRaised = true;
      pipeline.gatewayAlarm(ALARM, true, pinnedText(path, bytes));
    } else if (!pinned && isRaised) {
      isRaised = false;
      pipeline.gatewayAlarm(ALARM, false, 'the log of the cache is short again');
    }
    before = pinned;
  };
  timer = clock.after(LOOK_MS, look);
  return { stop: () => timer?.cancel() };
}

function logOf(path: string): { pinned: boolean; bytes: number } {
  try {
    const { logPinned, logBytes } = storageView(path);
    return { pinned: logPinned, bytes: logBytes };
  } catch {
    // The disk says so by itself, and louder.
    return { pinned: false, bytes: 0 };
  }
}

function pinnedText(path: string, bytes: number): string {
  const readers = logReaders(path);
  const who = readersText(readers);
  const what = `the log of the cache has grown to ${(bytes / MB).toFixed(0)} MB: ${who} reads the file and does not end`;
  const which = readers.length > 0 ? 'end it' : `find it by: fuser ${path}/cache.db-shm`;
  return `${what}. What it takes is missing for readings; ${which}`;
}
