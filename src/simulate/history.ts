/**
 * Everything that was ever committed, on any disk, by number: what the oracle compares the cloud with. A disk remembers
 * which of these rows it has seen; a copy of it remembers the same.
 */
import { decodeContent } from '../cache/content.ts';
import type { BlockRow, TagRow } from '../cache/store.ts';
import { isBad, type SlotKind } from '../reading.ts';
import { type BlockColumns, rowNumbers } from '../wire/columns.ts';
import { type ContentDigest, textSlot } from '../wire/digest.ts';
import { parseTagContent } from '../wire/tag.ts';

export interface LadderStep {
  readonly from: number;
  readonly to: number;
  readonly cause: string;
}

/** A committed row, as text: a reading with its value, or a record as canonical JSON. */
export interface HistoryRow {
  readonly key: string;
  readonly quality: number;
  /** Of a reading, as `ContentDigest.add` takes it. */
  readonly digest?: Parameters<ContentDigest['add']>;
}

export interface Place {
  readonly list: string;
  readonly n: number;
}

export class History {
  /** By `run/class`; index 0 is row 1. */
  readonly rows = new Map<string, HistoryRow[]>();
  /** Steps of the degradation ladder, by run. */
  readonly ladders = new Map<string, readonly LadderStep[]>();
  /** The last commit of each reading. */
  readonly places = new Map<string, Place>();

  /** Rows of a new block: its numbers follow what is known of its run and class. */
  add(list: string, row: BlockRow, bytes: Uint8Array, tagOf: (seq: number) => TagRow | undefined): HistoryRow[] {
    const content = decodeContent(row, bytes);
    const fresh =
      content.kind === 'records'
        ? content.records.map((record): HistoryRow => ({ key: canonical(record), quality: 0 }))
        : readingsOf(content.columns, tagOf);
    const known = this.rows.get(list) ?? [];
    this.rows.set(list, known);
    if (row.n0 !== known.length + 1) throw new Error(`${list}: row ${row.n0} was committed after row ${known.length}`);
    known.push(...fresh);
    return fresh;
  }
}

function readingsOf(columns: BlockColumns, tagOf: (seq: number) => TagRow | undefined): HistoryRow[] {
  const rows: HistoryRow[] = [];
  const numbers = rowNumbers(columns);
  const first = Math.min(...numbers);
  const { timeMs, value, quality, texts } = columns;
  const words = new Uint32Array(value.buffer, value.byteOffset, value.length * 2);
  let row = 0;
  for (const { tag, kind, counts } of columns.tags) {
    const { name } = parseTagContent(tagOf(tag)?.content ?? '{}');
    for (const end = row + counts.reduce((sum, count) => sum + count, 0); row < end; row++) {
      const q = quality[row] ?? 0;
      const at = timeMs[row] ?? 0;
      const text = isBad(q) ? undefined : slotText(value, row, kind, texts);
      const [low, high] = isBad(q)
        ? [0, 0]
        : kind === 'text'
          ? textSlot(texts[value[row] ?? 0] ?? '')
          : [words[row * 2] ?? 0, words[row * 2 + 1] ?? 0];
      const key = readingKey(name, at, text);
      rows[(numbers[row] ?? 0) - first] = { key, quality: q, digest: [name, at, kind, low, high, q] };
    }
  }
  return rows;
}

/** @param value as `slotText` says; undefined for a bad reading, which has none. */
export function readingKey(name: string, timeMs: number, value: string | undefined): string {
  return `${name} @${timeMs} = ${value ?? 'bad'}`;
}

export function slotText(value: Float64Array, row: number, kind: SlotKind, texts: readonly string[]): string {
  const slot = value.subarray(row, row + 1);
  if (kind === 'int64') return String(new BigInt64Array(slot.buffer, slot.byteOffset, 1)[0]);
  if (kind === 'uint64') return String(new BigUint64Array(slot.buffer, slot.byteOffset, 1)[0]);
  if (kind === 'text') return JSON.stringify(texts[slot[0] ?? -1]);
  return String(slot[0]);
}

/** With its members in order, so that two ends that wrote the same write the same text. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
