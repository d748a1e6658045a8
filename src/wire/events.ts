/** Rows of the classes alarm and aggregate, as `control.ts` has those of class control. */
import { SluiceError } from '../errors.ts';
import { malformed } from './bytes.ts';
import { CLASS_NUMBERS, type ClassNumber } from './classes.ts';
import { CONTROL_MALFORMED, Fields, GAP_RANGES_MAX, ID_BYTES, NAME_MAX, refusing, TEXT_MAX, typeOf } from './fields.ts';
import { count, parseRanges, type RangeSet } from './ranges.ts';
import type { TagId } from './tag.ts';

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
  /** Changes just before this one that were not written, because the disk was full. */
  readonly merged?: number;
}

/**
 * Raw readings rolled up by the ladder, removed by a GAP{aggregated}: computed from exactly the rows in `ranges` that are of
 * this tag and whose time is in the period. The ranges hold rows of other tags and times as well, each in an AGG of its own.
 */
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

const ALARM_KEYS = [
  'type',
  'id',
  'tag',
  'source',
  'condition',
  'state',
  'at',
  'value',
  'limit',
  'text',
  'by',
  'merged',
];

/** @throws control.malformed, control.type_unknown */
export function parseAlarm(value: unknown): AlarmRow {
  requireType(value, 'ALARM');
  const f = new Fields(value, CONTROL_MALFORMED, ALARM_KEYS);
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
    ...(f.has('merged') && { merged: f.integer('merged', 1) }),
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
    const f = new Fields(value, CONTROL_MALFORMED, AGGREGATE_KEYS);
    const rows = f.integer('count', 1);
    const ranges = parseRanges(f.raw('ranges'), GAP_RANGES_MAX);
    if (count(ranges) < rows) throw malformed('an aggregate of more rows than its ranges have');
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
