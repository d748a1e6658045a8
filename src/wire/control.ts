/**
 * Rows that are JSON objects: control, alarm and aggregate. These types are the JSON: bytes are lower-case hex, times are
 * milliseconds since 1970, ranges are `[{from, to}, …]`. Parsing is strict: a key that is not known is refused.
 */
import { SluiceError } from '../errors.ts';
import { hex, malformed } from './bytes.ts';
import { CLASS_NUMBERS, CLASSES, type ClassNumber } from './classes.ts';
import { Fields } from './fields.ts';
import { count, parseRanges, type RangeSet } from './ranges.ts';
import { contentId, parseTagContent, TAG_CONTENT_BYTES_MAX, type TagId } from './tag.ts';

/** Why a numbered row will never come. The ledger has a column for each. */
export const GAP_REASONS = ['dropped', 'aggregated', 'damaged', 'refused', 'forgotten', 'cloud_lost'] as const;
export type GapReason = (typeof GAP_REASONS)[number];

const CODE = 'control.malformed';
const ID_BYTES = 16;
const TEXT_MAX = 1024;
const NAME_MAX = 1024;
/** A GAP stays below the 64 KiB of a row: 2 × 16 digits and 20 bytes of JSON a range. */
export const GAP_RANGES_MAX = 1000;

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

export const ALARM_STATES = ['raised', 'cleared', 'acknowledged'] as const;
export type AlarmState = (typeof ALARM_STATES)[number];

/** One change of an alarm; its state goes by run and number. Either of `tag` and `source`, or neither for the box itself. */
export interface AlarmRow {
  readonly type: 'ALARM';
  readonly id: string;
  readonly tag?: string;
  readonly source?: string;
  readonly condition: string;
  readonly state: AlarmState;
  readonly at: number;
  readonly value?: number | string | boolean | null;
  readonly limit?: number;
  readonly text: string;
  /** Who acknowledged it. */
  readonly by?: string;
}

/** Raw readings rolled up by the ladder; computed from exactly the rows in `ranges`, which a GAP{aggregated} removes. */
export interface AggregateRow {
  readonly type: 'AGG';
  readonly tag: TagId;
  /** Where the rows were. */
  readonly run: string;
  readonly class: ClassNumber;
  readonly ranges: RangeSet;
  readonly startMs: number;
  readonly periodMs: number;
  /** All rows, bad ones included; the other figures are of the `good` ones. */
  readonly count: number;
  readonly good: number;
  readonly mean: number | null;
  /** Sum of squared differences from the mean: mergeable without cancellation. */
  readonly m2: number | null;
  readonly min: number | null;
  readonly max: number | null;
  readonly first: number | null;
  readonly last: number | null;
  readonly firstMs: number;
  readonly lastMs: number;
  /** Exact sum of an integer tag, in decimal. */
  readonly sum?: string;
}

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
        const f = new Fields(value, CODE, ['type', 'run', 'class', 'n']);
        return {
          type: 'SETTLED',
          run: f.hex('run', ID_BYTES),
          class: f.oneOf('class', CLASS_NUMBERS),
          n: f.integer('n', 0),
        };
      }
      case 'CLOCK_OFFSET': {
        const f = new Fields(value, CODE, ['type', 'boot', 'offsetMs']);
        return { type: 'CLOCK_OFFSET', boot: f.hex('boot', ID_BYTES), offsetMs: f.number('offsetMs') };
      }
      case 'CLOCK_STEP': {
        const f = new Fields(value, CODE, ['type', 'boot', 'at', 'stepMs']);
        return { type: 'CLOCK_STEP', boot: f.hex('boot', ID_BYTES), at: f.number('at'), stepMs: f.number('stepMs') };
      }
      case 'LADDER': {
        const f = new Fields(value, CODE, ['type', 'at', 'from', 'to', 'cause']);
        const [from, to] = [f.integer('from', 0, 5), f.integer('to', 0, 5)];
        return { type: 'LADDER', at: f.number('at'), from, to, cause: f.text('cause', TEXT_MAX) };
      }
      default:
        throw new SluiceError('control.type_unknown', 'discard', 'a control row of a type that is not known');
    }
  });
}

function typeOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
}

function parseRunOpen(value: unknown): RunOpenRow {
  const f = new Fields(value, CODE, ['type', 'previous', 'clean', 'boot', 'reason', 'version']);
  const clean = f.boolean('clean');
  const boot = f.hex('boot', ID_BYTES);
  const reason = f.text('reason', TEXT_MAX);
  const version = f.text('version', TEXT_MAX);
  return { type: 'RUN_OPEN', previous: parsePrevious(f.raw('previous')), clean, boot, reason, version };
}

function parsePrevious(value: unknown): RunOpenRow['previous'] {
  if (value === null) return null;
  const f = new Fields(value, CODE, ['run', 'last']);
  const last = f.raw('last');
  if (!Array.isArray(last) || last.length !== CLASSES.length) throw malformed('last is a number for each class');
  const numbers = last.map((n: unknown) => {
    if (typeof n !== 'number' || !Number.isSafeInteger(n) || n < 0) throw malformed('last is a number for each class');
    return n;
  });
  return { run: f.hex('run', ID_BYTES), last: numbers };
}

function parseTag(value: unknown): TagRow {
  const f = new Fields(value, CODE, ['type', 'id', 'content']);
  const content = f.text('content', TAG_CONTENT_BYTES_MAX);
  const id = f.hex('id', ID_BYTES);
  parseTagContent(content);
  if (hex(contentId(content)) !== id) throw malformed('an id that is not the hash of its content');
  return { type: 'TAG', id, content };
}

function parseGap(value: unknown): GapRow {
  const f = new Fields(value, CODE, ['type', 'run', 'class', 'ranges', 'count', 'from', 'to', 'reason']);
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

const ALARM_KEYS = ['type', 'id', 'tag', 'source', 'condition', 'state', 'at', 'value', 'limit', 'text', 'by'];

/** @throws control.malformed, control.type_unknown */
export function parseAlarm(value: unknown): AlarmRow {
  requireType(value, 'ALARM');
  const f = new Fields(value, CODE, ALARM_KEYS);
  return {
    type: 'ALARM',
    id: f.text('id', NAME_MAX),
    ...(f.has('tag') && { tag: f.text('tag', NAME_MAX) }),
    ...(f.has('source') && { source: f.text('source', NAME_MAX) }),
    condition: f.text('condition', NAME_MAX),
    state: f.oneOf('state', ALARM_STATES),
    at: f.number('at'),
    ...(f.has('value') && { value: alarmValue(f) }),
    ...(f.has('limit') && { limit: f.number('limit') }),
    text: f.text('text', TEXT_MAX),
    ...(f.has('by') && { by: f.text('by', NAME_MAX) }),
  };
}

function alarmValue(f: Fields): number | string | boolean | null {
  const value = f.raw('value');
  if (value === null || typeof value === 'boolean') return value;
  return typeof value === 'string' ? f.text('value', TEXT_MAX) : f.number('value');
}

const AGGREGATE_KEYS = [
  ...['type', 'tag', 'run', 'class', 'ranges', 'startMs', 'periodMs', 'count', 'good', 'mean', 'm2', 'min', 'max'],
  ...['first', 'last', 'firstMs', 'lastMs', 'sum'],
];

/** @throws control.malformed, control.type_unknown */
export function parseAggregate(value: unknown): AggregateRow {
  requireType(value, 'AGG');
  return refusing(() => {
    const f = new Fields(value, CODE, AGGREGATE_KEYS);
    const rows = f.integer('count', 1);
    const ranges = parseRanges(f.raw('ranges'), GAP_RANGES_MAX);
    if (count(ranges) !== rows) throw malformed('an aggregate whose count is not that of its ranges');
    const sum = f.has('sum') ? f.text('sum', 64) : undefined;
    if (sum !== undefined && !/^-?\d+$/.test(sum)) throw malformed('sum is a decimal integer');
    return {
      type: 'AGG',
      tag: f.hex('tag', ID_BYTES),
      run: f.hex('run', ID_BYTES),
      class: f.oneOf('class', CLASS_NUMBERS),
      ranges,
      startMs: f.number('startMs'),
      periodMs: f.number('periodMs'),
      count: rows,
      good: f.integer('good', 0, rows),
      mean: f.numberOrNull('mean'),
      m2: f.numberOrNull('m2'),
      min: f.numberOrNull('min'),
      max: f.numberOrNull('max'),
      first: f.numberOrNull('first'),
      last: f.numberOrNull('last'),
      firstMs: f.number('firstMs'),
      lastMs: f.number('lastMs'),
      ...(sum !== undefined && { sum }),
    };
  });
}

function requireType(value: unknown, type: string): void {
  if (typeOf(value) !== type)
    throw new SluiceError('control.type_unknown', 'discard', `expected a row of type ${type}`);
}

/** Errors of the parts below, as one code. */
function refusing<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (cause instanceof SluiceError && cause.code.startsWith('control.')) throw cause;
    throw new SluiceError(CODE, 'discard', cause instanceof Error ? cause.message : 'not understood', { cause });
  }
}
