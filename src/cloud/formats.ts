/** Answers to queries as JSON, NDJSON (one object a line) or CSV (RFC 4180). 64-bit integers are decimal strings. */
import type { FastifyReply } from 'fastify';
import { jsonValue, type PlainValue, reasonOf, statusOf } from '../reading.ts';

export type Format = 'json' | 'ndjson' | 'csv';
export type Cell = string | number | boolean | null;
export type Line = Readonly<Record<string, Cell>>;

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

/** `lines` under `key` of an object with the other facts; the line formats have the lines alone. */
export function sendLines(
  reply: FastifyReply,
  format: Format,
  key: string,
  lines: readonly Line[],
  facts: Readonly<Record<string, unknown>>,
): FastifyReply {
  switch (format) {
    case 'json':
      return reply.send({ ...facts, [key]: lines });
    case 'ndjson':
      return reply.type('application/x-ndjson').send(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    case 'csv':
      return reply.type('text/csv; charset=utf-8').send(csv(lines));
  }
}

function csv(lines: readonly Line[]): string {
  const [first] = lines;
  if (first === undefined) return '';
  const columns = Object.keys(first);
  const rows = lines.map((line) => columns.map((column) => cell(line[column] ?? null)).join(','));
  return `${[columns.join(','), ...rows].join('\r\n')}\r\n`;
}

function cell(value: Cell): string {
  const text = value === null ? '' : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
