/**
 * Answers to queries: JSON; NDJSON, one object a line; CSV (RFC 4180) with a head and the unit of every line; columns, an array for each
 * column of each tag, as data frames and plots take them. 64-bit integers are decimal strings in JSON and exact digits in CSV.
 */
import type { FastifyReply } from 'fastify';
import { jsonValue, type PlainValue, reasonOf, statusOf } from '../../reading.ts';

export const FORMATS = ['json', 'ndjson', 'csv', 'columns'] as const;
export type Format = (typeof FORMATS)[number];
export type Cell = string | number | boolean | null;
export type Line = Readonly<Record<string, Cell>>;

export const CONTENT_TYPES = {
  json: 'application/json; charset=utf-8',
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8',
  columns: 'application/json; charset=utf-8',
} as const satisfies Record<Format, string>;

/** Whose a line is; the same for all lines of a tag. */
const IDENTITY = ['gateway', 'tag', 'unit'] as const;
export const READING_COLUMNS = [...IDENTITY, 'time', 'timeMs', 'value', 'status', 'reason'] as const;
export const LATEST_COLUMNS = [...READING_COLUMNS, 'ageMs'] as const;
export const WINDOW_COLUMNS = [
  ...IDENTITY,
  ...['start', 'startMs', 'count', 'good', 'aggregated', 'min', 'max', 'mean', 'first', 'last'],
] as const;
/** Left out of columns: they say what another column says, for people. */
const FOR_PEOPLE = new Set(['time', 'start']);

/** The largest time that a Date can hold. */
const DATE_MS_MAX = 8.64e15;

/** A reading as the API shows it: `time` for people, `timeMs` exact. */
export function shownReading(reading: { timeMs: number; value: PlainValue; quality: number }) {
  const { timeMs, value, quality } = reading;
  return {
    time: isoTime(timeMs),
    timeMs,
    value: shownValue(value),
    status: statusOf(quality),
    reason: reasonOf(quality) || null,
  };
}

/** NaN and infinities have no JSON; they are shown by name. */
export function shownValue(value: PlainValue): Cell {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : jsonValue(value);
}

export function isoTime(ms: number): string | null {
  return Math.abs(ms) <= DATE_MS_MAX ? new Date(ms).toISOString() : null;
}

export interface Answer {
  /** What the lines are called in JSON. */
  readonly key: string;
  /** Of a line, in this order. */
  readonly columns: readonly string[];
  readonly lines: readonly Line[];
  /** What is true of all lines: in JSON and columns. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** JSON leaves out `unit`, which its facts say of each tag. */
export function sendAnswer(reply: FastifyReply, format: Format, answer: Answer): FastifyReply {
  reply.type(CONTENT_TYPES[format]);
  const { key, columns, lines, facts } = answer;
  switch (format) {
    case 'json':
      return reply.send({ ...facts, [key]: lines.map(({ unit: _unit, ...line }) => line) });
    case 'columns':
      return reply.send({ ...facts, series: asSeries(columns, lines) });
    case 'ndjson':
      return reply.send(ndjson(lines));
    case 'csv':
      return reply.send(csvHead(columns) + csv(columns, lines));
  }
}

export function ndjson(lines: readonly Line[]): string {
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

export function csvHead(columns: readonly string[]): string {
  return `${columns.join(',')}\r\n`;
}

export function csv(columns: readonly string[], lines: readonly Line[]): string {
  return lines.map((line) => `${columns.map((column) => cell(line[column] ?? null)).join(',')}\r\n`).join('');
}

function cell(value: Cell): string {
  const text = value === null ? '' : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export interface Series {
  readonly gateway: Cell;
  readonly tag: Cell;
  readonly unit: Cell;
  readonly columns: Readonly<Record<string, readonly Cell[]>>;
}

/** Lines by tag, each column an array; all arrays of a series are of one length. */
export function asSeries(columns: readonly string[], lines: readonly Line[]): Series[] {
  const shown = columns.filter((column) => !FOR_PEOPLE.has(column) && !IDENTITY.some((name) => name === column));
  const series = new Map<string, { of: Line; arrays: Cell[][] }>();
  for (const line of lines) {
    const key = JSON.stringify([line.gateway, line.tag]);
    let known = series.get(key);
    if (known === undefined) {
      known = { of: line, arrays: shown.map(() => []) };
      series.set(key, known);
    }
    for (const [i, column] of shown.entries()) known.arrays[i]?.push(line[column] ?? null);
  }
  return [...series.values()].map(({ of, arrays }) => ({
    gateway: of.gateway ?? null,
    tag: of.tag ?? null,
    unit: of.unit ?? null,
    columns: Object.fromEntries(shown.map((column, i) => [column, arrays[i] ?? []])),
  }));
}
