/**
 * Rows that are JSON objects: control, alarm and aggregate. These types are the JSON: bytes are lower-case hex, times are
 * milliseconds since 1970, ranges are `[{from, to}, …]`. Parsing is strict: a key that is not known is refused.
 */
import { SluiceError } from '../errors.ts';
import { hex, malformed } from './bytes.ts';
import { CLASS_NUMBERS, CLASSES, type ClassNumber } from './classes.ts';
import { CONTROL_MALFORMED, Fields, GAP_RANGES_MAX, ID_BYTES, refusing, TEXT_MAX, typeOf } from './fields.ts';
import { count, parseRanges, type RangeSet } from './ranges.ts';
import { contentId, parseTagContent, TAG_CONTENT_BYTES_MAX, type TagId } from './tag.ts';

export {
  type AggregateRow,
  ALARM_STATES,
  type AlarmRow,
  type AlarmState,
  parseAggregate,
  parseAlarm,
} from './events.ts';
export { GAP_RANGES_MAX } from './fields.ts';

/** Why a numbered row will never come. The ledger has a column for each. */
export const GAP_REASONS = ['dropped', 'aggregated', 'damaged', 'refused', 'forgotten', 'cloud_lost'] as const;
export type GapReason = (typeof GAP_REASONS)[number];

/** Row 1 of every run. */
export interface RunOpenRow {
  readonly type: 'RUN_OPEN';
  /** The run before, and its last number of each class as found in the journal; null when there was none. */
  readonly previous: { readonly run: string; readonly last: readonly number[] } | null;
  /** Whether the run before was closed in order. */
  readonly clean: boolean;
  readonly boot: string;
  readonly reason: string;
  readonly version: string;
}

export interface TagRow {
  readonly type: 'TAG';
  readonly id: TagId;
  /** `canonicalTag` of the definition; the id is its hash. */
  readonly content: string;
}

/** What will never come, and why. */
export interface GapRow {
  readonly type: 'GAP';
  readonly run: string;
  readonly class: ClassNumber;
  readonly ranges: RangeSet;
  /** Rows in `ranges`. */
  readonly count: number;
  /** Times of the first and last of them; null where they could not be read any more. */
  readonly from: number | null;
  readonly to: number | null;
  readonly reason: GapReason;
}

/** Everything up to n has been delivered or explained: a hole below it is a loss. */
export interface SettledRow {
  readonly type: 'SETTLED';
  readonly run: string;
  readonly class: ClassNumber;
  readonly n: number;
}

/** Wall clock minus what it showed during that boot before it was set. */
export interface ClockOffsetRow {
  readonly type: 'CLOCK_OFFSET';
  readonly boot: string;
  readonly offsetMs: number;
}

export interface ClockStepRow {
  readonly type: 'CLOCK_STEP';
  readonly boot: string;
  /** Wall clock before the step. */
  readonly at: number;
  readonly stepMs: number;
}

/** A step of the degradation ladder. */
export interface LadderRow {
  readonly type: 'LADDER';
  readonly at: number;
  readonly from: number;
  readonly to: number;
  readonly cause: string;
}

export type ControlRow = RunOpenRow | TagRow | GapRow | SettledRow | ClockOffsetRow | ClockStepRow | LadderRow;

/** @throws control.malformed, control.type_unknown */
export function parseControl(value: unknown): ControlRow {
  return refusing(() => {
    switch (typeOf(value)) {
      case 'RUN_OPEN':
        return parseRunOpen(value);
      case 'TAG':
        return parseTag(value);
      case 'GAP':
        return parseGap(value);
      case 'SETTLED': {
        const f = new Fields(value, CONTROL_MALFORMED, ['type', 'run', 'class', 'n']);
        return {
          type: 'SETTLED',
          run: f.hex('run', ID_BYTES),
          class: f.oneOf('class', CLASS_NUMBERS),
          n: f.integer('n', 0),
        };
      }
      case 'CLOCK_OFFSET': {
        const f = new Fields(value, CONTROL_MALFORMED, ['type', 'boot', 'offsetMs']);
        return { type: 'CLOCK_OFFSET', boot: f.hex('boot', ID_BYTES), offsetMs: f.number('offsetMs') };
      }
      case 'CLOCK_STEP': {
        const f = new Fields(value, CONTROL_MALFORMED, ['type', 'boot', 'at', 'stepMs']);
        return { type: 'CLOCK_STEP', boot: f.hex('boot', ID_BYTES), at: f.number('at'), stepMs: f.number('stepMs') };
      }
      case 'LADDER': {
        const f = new Fields(value, CONTROL_MALFORMED, ['type', 'at', 'from', 'to', 'cause']);
        const [from, to] = [f.integer('from', 0, 5), f.integer('to', 0, 5)];
        return { type: 'LADDER', at: f.number('at'), from, to, cause: f.text('cause', TEXT_MAX) };
      }
      default:
        throw new SluiceError('control.type_unknown', 'discard', 'a control row of a type that is not known');
    }
  });
}

function parseRunOpen(value: unknown): RunOpenRow {
  const f = new Fields(value, CONTROL_MALFORMED, ['type', 'previous', 'clean', 'boot', 'reason', 'version']);
  const clean = f.boolean('clean');
  const boot = f.hex('boot', ID_BYTES);
  const reason = f.text('reason', TEXT_MAX);
  const version = f.text('version', TEXT_MAX);
  return { type: 'RUN_OPEN', previous: parsePrevious(f.raw('previous')), clean, boot, reason, version };
}

function parsePrevious(value: unknown): RunOpenRow['previous'] {
  if (value === null) return null;
  const f = new Fields(value, CONTROL_MALFORMED, ['run', 'last']);
  const last = f.raw('last');
  if (!Array.isArray(last) || last.length !== CLASSES.length) throw malformed('last is a number for each class');
  const numbers = last.map((n: unknown) => {
    if (typeof n !== 'number' || !Number.isSafeInteger(n) || n < 0) throw malformed('last is a number for each class');
    return n;
  });
  return { run: f.hex('run', ID_BYTES), last: numbers };
}

function parseTag(value: unknown): TagRow {
  const f = new Fields(value, CONTROL_MALFORMED, ['type', 'id', 'content']);
  const content = f.text('content', TAG_CONTENT_BYTES_MAX);
  const id = f.hex('id', ID_BYTES);
  parseTagContent(content);
  if (hex(contentId(content)) !== id) throw malformed('an id that is not the hash of its content');
  return { type: 'TAG', id, content };
}

function parseGap(value: unknown): GapRow {
  const f = new Fields(value, CONTROL_MALFORMED, ['type', 'run', 'class', 'ranges', 'count', 'from', 'to', 'reason']);
  const ranges = parseRanges(f.raw('ranges'), GAP_RANGES_MAX);
  const rows = f.integer('count', 1);
  if (count(ranges) !== rows) throw malformed('a GAP whose count is not that of its ranges');
  const [from, to] = [f.numberOrNull('from'), f.numberOrNull('to')];
  const reason = f.oneOf('reason', GAP_REASONS);
  return {
    type: 'GAP',
    run: f.hex('run', ID_BYTES),
    class: f.oneOf('class', CLASS_NUMBERS),
    ranges,
    count: rows,
    from,
    to,
    reason,
  };
}
