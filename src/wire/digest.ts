/**
 * A digest of readings that does not depend on their order: a 64-bit hash of each, added up. Two stores that hold the same
 * readings, each once, have the same digest a tag, however they were cut, sent or sorted. It finds accidents; it is no
 * proof against somebody who wants two sets to look alike.
 */
import type { SlotKind } from '../reading.ts';
import { utf8 } from './bytes.ts';
import type { BlockColumns } from './columns.ts';

const KIND_NUMBERS: Readonly<Record<SlotKind, number>> = { number: 1, int64: 2, uint64: 3, bool: 4, text: 5 };
const SEED_LOW = 0x2545_f491;
const SEED_HIGH = 0x9e37_79b9;

export interface TagDigest {
  readonly count: number;
  /** 16 hex digits. */
  readonly digest: string;
}

/** One round of MurmurHash3's 32-bit mixing. */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e_2d51);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, 0x1b87_3593);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe654_6b64) | 0;
}

function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85eb_ca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

const double = new Float64Array(1);
const doubleWords = new Uint32Array(double.buffer);

/**
 * The 64-bit hash of one reading as [low, high].
 * @param slotLow, slotHigh the two words of the value slot; for text `textSlot` of it, for a bad reading zero.
 */
export function readingDigest(
  timeMs: number,
  kind: SlotKind,
  slotLow: number,
  slotHigh: number,
  quality: number,
): [number, number] {
  double[0] = timeMs;
  const [timeLow, timeHigh] = [doubleWords[0] ?? 0, doubleWords[1] ?? 0];
  const last = KIND_NUMBERS[kind] | (quality << 8);
  let low = SEED_LOW;
  let high = SEED_HIGH;
  for (const word of [timeLow, timeHigh, slotLow, slotHigh, last]) {
    low = mix(low, word);
    high = mix(high ^ low, word);
  }
  return [finish(low), finish(high)];
}

/** What stands for a text in a digest: two words hashed from its UTF-8. */
export function textSlot(text: string): [number, number] {
  let low = SEED_LOW;
  let high = SEED_HIGH;
  for (const byte of utf8(text)) {
    low = mix(low, byte);
    high = mix(high ^ low, byte);
  }
  return [finish(low), finish(high)];
}

interface Sums {
  count: number;
  low: number;
  high: number;
}

export class ContentDigest {
  readonly #tags = new Map<string, Sums>();

  add(tagName: string, timeMs: number, kind: SlotKind, slotLow: number, slotHigh: number, quality: number): void {
    this.#add(this.#sums(tagName), timeMs, kind, slotLow, slotHigh, quality);
  }

  addText(tagName: string, timeMs: number, text: string, quality: number): void {
    const [low, high] = textSlot(text);
    this.add(tagName, timeMs, 'text', low, high, quality);
  }

  /** @param nameOf the name of a block's tag number; undefined leaves that tag out. */
  addColumns(columns: BlockColumns, nameOf: (tag: number) => string | undefined): void {
    const { timeMs, value, quality, texts } = columns;
    const words = new Uint32Array(value.buffer, value.byteOffset, value.length * 2);
    const slots = texts.map(textSlot);
    let row = 0;
    for (const { tag, kind, counts } of columns.tags) {
      const start = row;
      for (const count of counts) row += count;
      const name = nameOf(tag);
      if (name === undefined) continue;
      const sums = this.#sums(name);
      for (let i = start; i < row; i++) {
        const q = quality[i] ?? 0;
        const bad = (q & 0x40) !== 0;
        const text = kind === 'text' && !bad ? slots[value[i] ?? 0] : undefined;
        const low = bad ? 0 : (text?.[0] ?? words[i * 2] ?? 0);
        const high = bad ? 0 : (text?.[1] ?? words[i * 2 + 1] ?? 0);
        this.#add(sums, timeMs[i] ?? 0, kind, low, high, q);
      }
    }
  }

  /** By tag name, ascending. */
  result(): Map<string, TagDigest> {
    const names = [...this.#tags.keys()].sort();
    return new Map(
      names.map((name) => {
        const { count, low, high } = this.#sums(name);
        return [name, { count, digest: word(high) + word(low) }];
      }),
    );
  }

  #sums(tagName: string): Sums {
    let sums = this.#tags.get(tagName);
    if (sums === undefined) {
      sums = { count: 0, low: 0, high: 0 };
      this.#tags.set(tagName, sums);
    }
    return sums;
  }

  #add(sums: Sums, timeMs: number, kind: SlotKind, slotLow: number, slotHigh: number, quality: number): void {
    const [low, high] = readingDigest(timeMs, kind, slotLow, slotHigh, quality);
    sums.count++;
    sums.low = (sums.low + low) >>> 0;
    // The carry makes it one 64-bit sum.
    sums.high = (sums.high + high + (sums.low < low ? 1 : 0)) >>> 0;
  }
}

function word(value: number): string {
  return value.toString(16).padStart(8, '0');
}
