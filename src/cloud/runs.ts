/**
 * The chain of runs. Every process start of a gateway is a run that names the one before and how far that one had come. The
 * chain forks when a backup was restored, a card cloned or a file replaced; nothing breaks then, but a person must know.
 *
 * The same facts give the same verdict in whatever order they arrive: a fork is two runs with one predecessor (or two with
 * none), or a run that found less of its predecessor than the cloud holds of it.
 */
import type { Statement } from 'better-sqlite3';
import { CLASS_NUMBERS, CLASSES } from '../wire/classes.ts';
import type { RunOpenRow } from '../wire/control.ts';
import { parseJson } from '../wire/json.ts';
import type { CloudAlarms } from './cloud-alarms.ts';
import type { Db } from './database.ts';
import type { RangesStore } from './ranges-store.ts';

export interface RunRow {
  readonly id: number;
  readonly run: string;
  readonly opened: number;
  readonly previous: string | null;
  readonly previous_last: string | null;
  readonly clean: number | null;
  readonly boot: string | null;
  readonly reason: string | null;
  readonly version: string | null;
  readonly first_seen_ms: number;
}

const COLUMNS = 'id, run, opened, previous, previous_last, clean, boot, reason, version, first_seen_ms';
/** Run ids are shown by their beginning: enough to tell them apart, short enough to read out. */
const SHORT = 8;

export class Runs {
  readonly #ranges: RangesStore;
  readonly #alarms: CloudAlarms;
  readonly #open: Statement<unknown[]>;
  readonly #siblings: Statement<[number, string | null], RunRow>;
  readonly #find: Statement<[number, string], RunRow>;
  readonly #of: Statement<[number, number], RunRow>;

  constructor(db: Db, ranges: RangesStore, alarms: CloudAlarms) {
    this.#ranges = ranges;
    this.#alarms = alarms;
    this.#open = db.prepare(
      `UPDATE run SET opened = 1, previous = ?, previous_last = ?, clean = ?, boot = ?, reason = ?, version = ?
       WHERE id = ? AND opened = 0`,
    );
    this.#siblings = db.prepare(
      `SELECT ${COLUMNS} FROM run WHERE device = ? AND previous IS ? AND opened = 1 ORDER BY id`,
    );
    this.#find = db.prepare(`SELECT ${COLUMNS} FROM run WHERE device = ? AND run = ?`);
    this.#of = db.prepare(`SELECT ${COLUMNS} FROM run WHERE device = ? ORDER BY id DESC LIMIT ?`);
  }

  open(run: number, row: RunOpenRow): void {
    const { previous, clean, boot, reason, version } = row;
    const last = previous === null ? null : JSON.stringify(previous.last);
    this.#open.run(previous?.run ?? null, last, clean ? 1 : 0, boot, reason, version, run);
  }

  /** After rows of `run` came: is it, or what follows it, part of a fork? */
  check(device: number, run: string, nowMs: number): void {
    const row = this.#find.get(device, run);
    if (row === undefined) return;
    if (row.opened === 1) {
      const siblings = this.#siblings.all(device, row.previous);
      if (siblings.length > 1) this.#raiseSiblings(device, row.previous, siblings, nowMs);
      this.#checkRewound(device, row, nowMs);
    }
    for (const next of this.#siblings.all(device, run)) this.#checkRewound(device, next, nowMs);
  }

  /** Newest first sight first. */
  of(device: number, limit: number): RunRow[] {
    return this.#of.all(device, limit);
  }

  #raiseSiblings(device: number, previous: string | null, siblings: readonly RunRow[], nowMs: number): void {
    const names = siblings.map(({ run }) => run.slice(0, SHORT)).join(', ');
    const text =
      previous === null
        ? `runs ${names} all begin anew: the gateway's cache file was replaced, or its card cloned before the first start`
        : `runs ${names} all follow run ${previous.slice(0, SHORT)}: a backup was restored, or the card was cloned`;
    this.#alarms.raise(device, 'fork', previous ?? 'none', text, nowMs);
  }

  #checkRewound(device: number, row: RunRow, nowMs: number): void {
    if (row.previous === null || row.previous_last === null) return;
    const previous = this.#find.get(device, row.previous);
    if (previous === undefined) return;
    const found = lastNumbers(row.previous_last);
    for (const cls of CLASS_NUMBERS) {
      const held = this.#ranges.last('held', previous.id, cls);
      const seen = found[cls] ?? 0;
      if (held <= seen) continue;
      const text = `run ${row.run.slice(0, SHORT)} found rows up to ${seen} of class ${CLASSES[cls]} of run ${row.previous.slice(0, SHORT)}, but ${held} were delivered: a backup was restored, or the card was cloned`;
      this.#alarms.raise(device, 'fork', row.run, text, nowMs);
      return;
    }
  }
}

/** What we wrote ourselves: a number for each class. */
function lastNumbers(json: string): readonly number[] {
  const parsed = parseJson(json, { bytesMax: 1024, depthMax: 1 });
  return Array.isArray(parsed) ? parsed.map(Number) : [];
}

/** Position of each run in its chain, the first is 0: a later state of an alarm is one of a later run. */
export function chainPositions(runs: readonly Pick<RunRow, 'run' | 'previous'>[]): Map<string, number> {
  const previousOf = new Map(runs.map(({ run, previous }) => [run, previous]));
  const positions = new Map<string, number>();
  for (const { run } of runs) {
    const path: string[] = [];
    const onPath = new Set<string>();
    let at: string | null | undefined = run;
    // Ends at a run that has its place, at the first of a chain, or where somebody made it go round.
    while (typeof at === 'string' && previousOf.has(at) && !positions.has(at) && !onPath.has(at)) {
      path.push(at);
      onPath.add(at);
      at = previousOf.get(at);
    }
    let position = typeof at === 'string' ? (positions.get(at) ?? -1) : -1;
    for (const next of path.reverse()) positions.set(next, ++position);
  }
  return positions;
}
