/** Readings and aggregates that the cloud will not take, as dead letters a person can read. */
import { isBad, jsonValue, reasonOf, statusOf, valueReader } from '../reading.ts';
import type { BlockColumns } from '../wire/block.ts';
import { utf8 } from '../wire/bytes.ts';
import { intersect, type RangeSet } from '../wire/ranges.ts';
import { parseTagContent } from '../wire/tag.ts';
import type { TagBook } from './books.ts';
import { type Content, decodeContent, selectContent } from './content.ts';
import { type BlockRow, type BlockStore, type DeadLetterRow, numbersOf } from './store.ts';

/** A batch is refused as one row as a rule; more than this of one is not evidence but bulk. */
const LETTERS_MAX = 100;

export interface Refusal {
  readonly letters: DeadLetterRow[];
  readonly fromMs: number | null;
  readonly toMs: number | null;
}

export function deadLetters(
  store: BlockStore,
  tags: TagBook,
  rows: readonly BlockRow[],
  ranges: RangeSet,
  reason: string,
  atMs: number,
): Refusal {
  const letters: DeadLetterRow[] = [];
  let fromMs = Number.POSITIVE_INFINITY;
  let toMs = Number.NEGATIVE_INFINITY;
  for (const row of rows) {
    fromMs = Math.min(fromMs, row.firstMs);
    toMs = Math.max(toMs, row.lastMs);
    try {
      const content = decodeContent(row, store.block(row.id));
      const mine = intersect(ranges, numbersOf(row));
      // Records are cut one range at a time.
      for (const some of content.kind === 'readings' ? [mine] : mine.map((range) => [range]))
        letters.push(...lettersOf(selectContent(content, some), tags, reason, atMs, LETTERS_MAX - letters.length));
    } catch {
      // Damaged as well: there is nothing to keep.
    }
  }
  return { letters, fromMs: rows.length > 0 ? fromMs : null, toMs: rows.length > 0 ? toMs : null };
}

function lettersOf(
  content: Content | undefined,
  tags: TagBook,
  reason: string,
  atMs: number,
  max: number,
): DeadLetterRow[] {
  if (content === undefined) return [];
  if (content.kind === 'readings') return lettersOfReadings(content.columns, tags, reason, atMs, max);
  return content.records.slice(0, max).map((row) => letterOfRecord(row, tags, reason, atMs));
}

function lettersOfReadings(
  columns: BlockColumns,
  tags: TagBook,
  reason: string,
  atMs: number,
  max: number,
): DeadLetterRow[] {
  const letters: DeadLetterRow[] = [];
  const read = valueReader(columns);
  let row = 0;
  for (const { tag, counts } of columns.tags) {
    const { name, type } = parseTagContent(tags.row(tag)?.content ?? '{}');
    for (const end = row + counts.reduce((sum, count) => sum + count, 0); row < end; row++) {
      if (letters.length >= max) return letters;
      const q = columns.quality[row] ?? 0;
      const reading = {
        tag: name,
        t: columns.timeMs[row],
        v: isBad(q) ? null : jsonValue(read(row, type)),
        q: statusOf(q),
        r: reasonOf(q) || undefined,
      };
      letters.push(letter(name, reading, reason, atMs));
    }
  }
  return letters;
}

/** An aggregate names its tag by id. */
function letterOfRecord(row: object, tags: TagBook, reason: string, atMs: number): DeadLetterRow {
  const id = 'tag' in row ? String(row.tag) : '';
  const content = tags.row(tags.seqOf(id) ?? -1)?.content;
  return letter(content === undefined ? id : parseTagContent(content).name, row, reason, atMs);
}

function letter(name: string, original: object, reason: string, atMs: number): DeadLetterRow {
  return {
    atMs,
    source: name.split('/', 1)[0] ?? '',
    subject: name,
    reason: `refused by the cloud: ${reason}`,
    original: utf8(JSON.stringify(original)),
  };
}
