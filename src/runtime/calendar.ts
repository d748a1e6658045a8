/**
 * Jobs by the calendar: reports, retention, windows for synchronising. Sampling and retries are not here: their timers
 * are monotonic.
 *
 * A daily job runs once for each local date, at the first minute not before its time. That holds when the clocks change
 * (02:30 does not exist, or comes twice), after a suspend, and when the clock is set: a monotonic timer wakes us every
 * minute and this decides. A job is not made up for at start, nor while the clock is not set.
 *
 * Not a cron library's work: those we tried visit every minute that the wall clock passed over, one after the other, and
 * a box without a battery-backed clock goes from 1970 to today in one step: 29 million minutes in which nothing is polled.
 * Set back, they sleep until the old time has come again.
 */
import type { Clock, Timer } from './clock.ts';

const LOOK_EVERY_MS = 60_000;

/** Dates remembered as done: a clock that is set back and forth by days must not repeat a job. */
const DATES_KEPT_MAX = 32;

interface DailyJob {
  readonly minute: number;
  readonly run: (date: string) => void;
  readonly done: Set<string>;
  started: boolean;
}

export interface Calendar {
  /**
   * @param at `HH:MM` in the calendar's time zone.
   * @param run gets the local date, `2026-03-29`. What it throws is the caller's to log: it must not throw.
   */
  daily(at: string, run: (date: string) => void): void;
  stop(): void;
}

/** @param timeZone IANA name; default the system's. */
export function startCalendar(clock: Clock, timeZone?: string): Calendar {
  const jobs: DailyJob[] = [];
  const local = timeZone === undefined ? systemTime : timeIn(timeZone);
  const now = () => local(clock.wallMs());
  const check = () => {
    if (!clock.synced()) return;
    const { date, minute } = now();
    for (const job of jobs) checkJob(job, date, minute);
  };
  let timer: Timer | undefined;
  const look = () => {
    timer = clock.after(LOOK_EVERY_MS, look);
    check();
  };
  timer = clock.after(LOOK_EVERY_MS, look);
  return {
    daily(at, run) {
      const minute = minuteOf(at);
      if (Number.isNaN(minute)) throw new RangeError(`expected a time of day such as 03:30, not ${at}`);
      jobs.push({ minute, run, done: new Set(), started: false });
      check();
    },
    stop() {
      timer?.cancel();
    },
  };
}

interface LocalTime {
  /** `2026-03-29` */
  readonly date: string;
  /** Of the day. */
  readonly minute: number;
}

/** Not by Intl: its tables of formats are 8 MB of memory for a box that asks for nothing but the hour. */
export function systemTime(wallMs: number): LocalTime {
  const at = new Date(wallMs);
  const two = (number: number) => String(number).padStart(2, '0');
  return {
    date: `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`,
    minute: at.getHours() * 60 + at.getMinutes(),
  };
}

export function timeIn(timeZone: string): (wallMs: number) => LocalTime {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' });
  return (wallMs) => {
    const [date = '', time = ''] = format.format(wallMs).split(' ');
    return { date, minute: minuteOf(time) };
  };
}

function checkJob(job: DailyJob, date: string, minute: number): void {
  const due = minute >= job.minute && !job.done.has(date);
  const first = !job.started;
  job.started = true;
  if (!due) return;
  job.done.add(date);
  const [oldest] = job.done;
  if (job.done.size > DATES_KEPT_MAX && oldest !== undefined) job.done.delete(oldest);
  // The time had passed before we first looked: today's run belongs to who ran then.
  if (!first || minute === job.minute) job.run(date);
}

function minuteOf(time: string): number {
  const [, hours, minutes] = /^(\d\d):(\d\d)/.exec(time) ?? [];
  const minute = Number(hours) * 60 + Number(minutes);
  return Number(hours) < 24 && Number(minutes) < 60 ? minute : Number.NaN;
}
