/**
 * What a person reads on a terminal: tables, numbers, times. Every command offers the same facts as JSON.
 */
import { codeOf } from '../errors.ts';
import { type PlainValue, shortest } from '../reading.ts';
import { jsonReplacer } from '../runtime/json.ts';
import { Exit } from './exit.ts';

export interface Output {
  line(text?: string): void;
  json(value: unknown): void;
  problem(text: string): void;
  readonly terminal: boolean;
  /** Aborted when nobody reads it any more: what has no other end stops then. */
  readonly closed: AbortSignal;
}

const closing = new AbortController();
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: Error) => {
    // `sluice tail | head` is no fault of ours: the rest is written to nobody, and the exit code stays what it is.
    if (codeOf(error) === 'EPIPE') {
      if (stream === process.stdout) closing.abort();
      return;
    }
    // Half an answer in a file on a full disk must not look like a whole one.
    if (stream === process.stdout) process.stderr.write(`sluice: the output cannot be written: ${error.message}\n`);
    process.exit(Exit.finding);
  });
}

export const standardOutput: Output = {
  line: (text = '') => void process.stdout.write(`${text}\n`),
  json: (value) => void process.stdout.write(`${JSON.stringify(value, jsonReplacer, 2)}\n`),
  problem: (text) => void process.stderr.write(`${text}\n`),
  terminal: process.stdout.isTTY === true,
  closed: closing.signal,
};

export type Align = 'left' | 'right';

/** A table with two spaces between columns; numbers go to the right. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  align: readonly Align[] = [],
): string {
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => displayWidth(row[at] ?? ''))));
  const format = (row: readonly string[]) =>
    row
      .map((cell, at) => {
        const pad = ' '.repeat(Math.max(0, (widths[at] ?? 0) - displayWidth(cell)));
        return align[at] === 'right' ? pad + cell : cell + pad;
      })
      .join('  ')
      .trimEnd();
  return [format(head), ...rows.map(format)].join('\n');
}

/** Of a terminal that nobody made wider. */
const COLUMNS = 80;

/** A sentence in lines of 80 columns, each with `indent`; a word that is longer stands alone. @param mark before the first. */
export function fold(text: string, indent = '', mark = ''): string {
  const lines: string[] = [];
  const margin = indent + ' '.repeat(displayWidth(mark));
  let line = indent + mark;
  let isEmpty = true;
  for (const word of text.split(' ')) {
    if (!isEmpty && displayWidth(line) + 1 + displayWidth(word) > COLUMNS) {
      lines.push(line);
      line = margin;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line].join('\n');
}

const LABEL_COLUMNS = 11;
/** Under the text of a labelled line. */
export const MARGIN = ' '.repeat(LABEL_COLUMNS);

/** `disk       1.0 MB of 1.0 GB`, further lines below the text. */
export function labelled(label: string, text: string): string {
  return label.padEnd(LABEL_COLUMNS) + fold(text, MARGIN).slice(LABEL_COLUMNS);
}

/** Terminal columns: combining marks take none. */
function displayWidth(text: string): number {
  return [...text.normalize('NFC')].length;
}

/** `1,234,567`. Not by Intl: its tables are 8 MB of memory, and the gateway's process has this module, too. */
export function count(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(?:\d{3})+$)/g, ',');
}

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let scaled = value;
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${unit === 0 ? scaled : scaled.toFixed(1)} ${units[unit]}`;
}

export function span(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

export function time(ms: number): string {
  return Number.isFinite(ms) && Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : String(ms);
}

/** For reading, not for reckoning: 9 digits, and what is a float32 in as few as tell it from its neighbours. JSON has all of them. */
export function value(plain: PlainValue): string {
  if (plain === null) return '-';
  if (typeof plain === 'number' && !Number.isInteger(plain))
    return String(Number(shortest(plain, 'float32').toPrecision(9)));
  return String(plain);
}
