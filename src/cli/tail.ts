import type { CacheReader, ReadingView } from '../cache/index.ts';
import { reasonOf, statusOf } from '../reading.ts';
import { sleep, systemClock } from '../runtime/clock.ts';
import { jsonReplacer } from '../runtime/json.ts';
import { Exit, type ExitCode } from './exit.ts';
import { type CacheChoice, openLocalCache, otherTags, shownReading } from './local-cache.ts';
import { type Output, time, value } from './output.ts';
import { stopSignal } from './stop-signal.ts';

/** The gateway commits once a second. */
const LOOK_MS = 500;

export interface TailCommand extends CacheChoice {
  readonly last: number;
  readonly follow: boolean;
  readonly json?: boolean;
}

export async function tail(pattern: string, options: TailCommand, output: Output): Promise<ExitCode> {
  const stopped = AbortSignal.any([stopSignal(), output.closed]);
  const { cache } = openLocalCache(options);
  try {
    const print = (readings: readonly ReadingView[]) => {
      for (const reading of readings) output.line(options.json === true ? jsonLine(reading) : humanLine(reading));
    };
    let { readings, next } = cache.tail(pattern, options.last);
    print(readings);
    if (!options.follow) return readings.length > 0 ? Exit.fine : empty(pattern, cache, output);
    while (!stopped.aborted) {
      await sleep(systemClock, LOOK_MS, stopped).catch(() => {});
      ({ readings, next } = cache.after(pattern, next));
      print(readings);
    }
    return Exit.fine;
  } finally {
    cache.close();
  }
}

function jsonLine(reading: ReadingView): string {
  return JSON.stringify(shownReading(reading), jsonReplacer);
}

function humanLine({ tag, timeMs, value: plain, quality }: ReadingView): string {
  const status = statusOf(quality);
  const shown = status === 'good' ? '' : `   ${status} ${reasonOf(quality)}`;
  return `${time(timeMs)}  ${tag}  ${value(plain)}${shown}`;
}

function empty(pattern: string, cache: CacheReader, output: Output): ExitCode {
  output.problem(`no reading of ${pattern}; ${otherTags(pattern, cache) ?? 'it is known, and has sent nothing yet'}`);
  return Exit.finding;
}
