/**
 * The last reading of every tag, on the main thread. A value is live until its time to live has passed from the moment
 * the next reading was due; every reading renews it, kept by the deadband or not. Past that it is `uncertain/stale`, by
 * itself, never shown as if it were live. A tag that tells (no period) is renewed by what it tells: it goes stale only
 * when it has a `ttl` of its own.
 */

import type { Chunk } from '../reading.ts';
import { isBad, type PlainValue, Quality, type SlotKind, slotKind, THINNED, type ValueType } from '../reading.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import { tagIdHex } from '../wire/tag.ts';
import type { CacheTag, HotState } from './types.ts';

/** How late a value may be found stale: a tenth of the default time to live. */
const SWEEP_MS = 100;
const FIRST_CAPACITY = 256;
/** Values of tags that nobody has registered since the start: of brokers whose sensors come and go for years. The newest stay. */
const CARRIED_MAX = 10_000;

export interface HotValue {
  readonly value: PlainValue;
  readonly timeMs: number;
  /** Stale where the time to live has passed. */
  readonly quality: number;
}

type HotColumns = Pick<HotState, 'timeMs' | 'value' | 'quality'>;

interface HotTag {
  readonly id: string;
  readonly type: ValueType;
  readonly kind: SlotKind;
  /** 0 for a tag that tells. */
  readonly periodMs: number;
  /** Due every so many periods. */
  readonly factor: number;
  /** Period, as it is now, plus time to live; infinity never goes stale. */
  readonly liveMs: number;
}

export class HotTable {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #tags: HotTag[] = [];
  readonly #byId = new Map<string, number>();
  #capacity = FIRST_CAPACITY;
  #timeMs = new Float64Array(FIRST_CAPACITY);
  #value = new Float64Array(FIRST_CAPACITY);
  #quality = new Uint8Array(FIRST_CAPACITY);
  /** Monotonic: from here on it is stale. NaN: there is no reading. */
  #staleAtMs = new Float64Array(FIRST_CAPACITY).fill(Number.NaN);
  #isStale = new Uint8Array(FIRST_CAPACITY);
  /** Counted by every reading, and whatever else changes what is known. */
  #changes = new Uint32Array(FIRST_CAPACITY);
  readonly #texts: (string | undefined)[] = [];
  #listeners: ((indexes: readonly number[]) => void)[] = [];
  #timer: Timer | undefined;
  /** What was saved before the restart, for tags that are not registered yet. */
  #saved: { readonly state: HotState; readonly rows: Map<string, number> } | undefined;

  /** @param options.ttlMs for tags without one of their own. */
  constructor(clock: Clock, options: { readonly ttlMs: number }) {
    this.#clock = clock;
    this.#ttlMs = options.ttlMs;
  }

  register({ index, definition, fields, periodMs }: CacheTag): void {
    while (index >= this.#capacity) this.#grow();
    const id = tagIdHex(definition);
    const liveMs =
      periodMs === undefined ? (fields.ttl ?? Number.POSITIVE_INFINITY) : periodMs + (fields.ttl ?? this.#ttlMs);
    this.#tags[index] = {
      id,
      type: definition.type,
      kind: slotKind(definition.type),
      periodMs: periodMs ?? 0,
      factor: 1,
      liveMs,
    };
    this.#byId.set(id, index);
    this.#restore(index);
  }

  /** As if no reading of these had ever come. @param ids of tags, 32 hex digits each */
  forget(ids: readonly string[]): void {
    for (const id of ids) {
      this.#saved?.rows.delete(id);
      const index = this.#byId.get(id);
      if (index === undefined) continue;
      this.#changes[index] = (this.#changes[index] as number) + 1;
      this.#staleAtMs[index] = Number.NaN;
      this.#value[index] = 0;
      this.#texts[index] = undefined;
    }
  }

  get size(): number {
    return this.#tags.length;
  }

  /** Of every valid reading, before the deadband drops any. The last of a tag in the chunk counts. */
  update({ length, tag, timeMs, value, quality, texts }: Chunk): void {
    const nowMs = this.#clock.monoMs();
    for (let row = 0; row < length; row++) {
      const index = tag[row] as number; // in bounds, here and below
      const about = this.#tags[index];
      if (about === undefined) continue;
      const q = (quality[row] as number) & ~THINNED;
      this.#timeMs[index] = timeMs[row] as number;
      this.#quality[index] = q;
      this.#staleAtMs[index] = nowMs + about.liveMs;
      this.#isStale[index] = 0;
      this.#changes[index] = (this.#changes[index] as number) + 1;
      if (about.kind === 'number' || about.kind === 'bool') this.#value[index] = value[row] as number;
      else if (about.kind === 'text') this.#texts[index] = isBad(q) ? undefined : texts[value[row] as number];
      else this.#value.set(value.subarray(row, row + 1), index); // moves bytes: 64-bit integers arrive as they were
    }
  }

  get(index: number): HotValue | undefined {
    const about = this.#tags[index];
    const staleAtMs = this.#staleAtMs[index];
    if (about === undefined || staleAtMs === undefined || Number.isNaN(staleAtMs)) return undefined;
    const q = this.#quality[index] ?? 0;
    const isLive = this.#clock.monoMs() < staleAtMs;
    return {
      value: this.#read(index, about, q),
      timeMs: this.#timeMs[index] ?? 0,
      quality: isLive || isBad(q) ? q : Quality.stale,
    };
  }

  /** @param marks of the tags from this one on: become others wherever `get` answers otherwise than it did before. */
  mark(first: number, marks: Float64Array): void {
    const nowMs = this.#clock.monoMs();
    for (let at = 0; at < marks.length; at++) {
      const isLive = nowMs < (this.#staleAtMs[first + at] ?? Number.NaN);
      marks[at] = 2 * (this.#changes[first + at] ?? 0) + (isLive ? 1 : 0);
    }
  }

  /** False for what is past its time, and for what never came. */
  isLive(index: number): boolean {
    return this.#clock.monoMs() < (this.#staleAtMs[index] ?? Number.NaN);
  }

  /**
   * These polled tags are due every `factor` periods from now on; 1 is as configured. What is live now stays so until its
   * next reading is due at the new pace.
   */
  slowed(factor: number, indexes: readonly number[]): void {
    const nowMs = this.#clock.monoMs();
    for (const index of indexes) {
      const about = this.#tags[index];
      if (about === undefined || about.factor === factor) continue;
      const liveMs = about.liveMs + (factor - about.factor) * about.periodMs;
      this.#tags[index] = { ...about, factor, liveMs };
      const staleAtMs = this.#staleAtMs[index] as number; // in bounds
      if (this.#isStale[index] !== 0 || Number.isNaN(staleAtMs)) continue;
      this.#staleAtMs[index] = Math.min(staleAtMs + Math.max(0, liveMs - about.liveMs), nowMs + liveMs);
    }
  }

  /** Called with the tags that have just gone stale; bad ones are known to be worse already and are left out. */
  onStale(listener: (indexes: readonly number[]) => void): void {
    this.#listeners.push(listener);
    if (this.#timer === undefined) this.#sweepLater();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#listeners = [];
  }

  /** For the cache's checkpoint; with what was loaded of tags that have not been registered yet. */
  save(): HotState {
    const known = this.#tags.flatMap((tag, index) =>
      tag === undefined || Number.isNaN(this.#staleAtMs[index]) ? [] : [index],
    );
    const carried = this.#carried();
    const [length, saved] = [known.length + carried.length, this.#saved?.state];
    const state = {
      timeMs: new Float64Array(length),
      value: new Float64Array(length),
      quality: new Uint8Array(length),
    };
    const texts: string[] = [];
    const put = (row: number, from: number, text: string | undefined, isText: boolean, of: HotColumns) => {
      state.timeMs[row] = of.timeMs[from] ?? 0;
      state.quality[row] = of.quality[from] ?? 0;
      if (!isText) state.value.set(of.value.subarray(from, from + 1), row);
      else if (text !== undefined) state.value[row] = texts.push(text) - 1;
    };
    const mine = { timeMs: this.#timeMs, value: this.#value, quality: this.#quality };
    for (const [row, index] of known.entries())
      put(row, index, this.#texts[index], this.#tags[index]?.kind === 'text', mine);
    for (const [at, from] of carried.entries()) {
      const text = isBad(saved?.quality[from] ?? 0) ? undefined : saved?.texts[saved.value[from] ?? -1];
      if (saved !== undefined) put(known.length + at, from, text, saved.definitions?.[from]?.type === 'text', saved);
    }
    const ids = [...known.map((index) => this.#tags[index]?.id ?? ''), ...carried.map((row) => saved?.ids[row] ?? '')];
    return { ids, ...state, texts };
  }

  /** Rows of what was loaded, of tags that are known in the cache and not registered here. */
  #carried(): number[] {
    const { state, rows } = this.#saved ?? {};
    if (state === undefined || rows === undefined) return [];
    const left = [...rows].flatMap(([id, row]) =>
      this.#byId.has(id) || state.definitions?.[row] === undefined ? [] : [row],
    );
    if (left.length <= CARRIED_MAX) return left;
    return left.sort((a, b) => (state.timeMs[b] ?? 0) - (state.timeMs[a] ?? 0)).slice(0, CARRIED_MAX);
  }

  /** Values from before a restart: shown as stale until the first reading, for tags registered before and after. */
  load(state: HotState): void {
    this.#saved = { state, rows: new Map(state.ids.map((id, row) => [id, row])) };
    this.#tags.forEach((_, index) => {
      this.#restore(index);
    });
  }

  #restore(index: number): void {
    const about = this.#tags[index];
    const row = about && this.#saved?.rows.get(about.id);
    if (about === undefined || row === undefined || !Number.isNaN(this.#staleAtMs[index])) return;
    const { timeMs, value, quality, texts } = this.#saved?.state ?? {
      timeMs: [],
      value: new Float64Array(),
      quality: [],
      texts: [],
    };
    this.#timeMs[index] = timeMs[row] ?? 0;
    this.#quality[index] = quality[row] ?? 0;
    this.#value.set(value.subarray(row, row + 1), index);
    if (about.kind === 'text') this.#texts[index] = isBad(quality[row] ?? 0) ? undefined : texts[value[row] ?? 0];
    this.#staleAtMs[index] = Number.NEGATIVE_INFINITY;
    this.#isStale[index] = 1;
    this.#changes[index] = (this.#changes[index] as number) + 1;
  }

  #read(index: number, { kind }: HotTag, q: number): PlainValue {
    if (isBad(q)) return null;
    switch (kind) {
      case 'int64':
        return new BigInt64Array(this.#value.buffer)[index] ?? null;
      case 'uint64':
        return new BigUint64Array(this.#value.buffer)[index] ?? null;
      case 'bool':
        return this.#value[index] !== 0;
      case 'text':
        return this.#texts[index] ?? null;
      default:
        return this.#value[index] ?? null;
    }
  }

  #sweepLater(): void {
    this.#timer = this.#clock.after(SWEEP_MS, () => {
      this.#sweep();
      this.#sweepLater();
    });
  }

  #sweep(): void {
    const nowMs = this.#clock.monoMs();
    const stale: number[] = [];
    for (let index = 0; index < this.#tags.length; index++) {
      // NaN, no reading, is never in the past.
      if (this.#isStale[index] !== 0 || !((this.#staleAtMs[index] as number) <= nowMs)) continue;
      this.#isStale[index] = 1;
      if (!isBad(this.#quality[index] ?? 0)) stale.push(index);
    }
    if (stale.length > 0) for (const listener of this.#listeners) listener(stale);
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    const larger = <T extends Float64Array | Uint8Array | Uint32Array>(made: T, column: T): T => {
      made.set(column);
      return made;
    };
    this.#timeMs = larger(new Float64Array(capacity), this.#timeMs);
    this.#value = larger(new Float64Array(capacity), this.#value);
    this.#quality = larger(new Uint8Array(capacity), this.#quality);
    this.#staleAtMs = larger(new Float64Array(capacity).fill(Number.NaN), this.#staleAtMs);
    this.#isStale = larger(new Uint8Array(capacity), this.#isStale);
    this.#changes = larger(new Uint32Array(capacity), this.#changes);
    this.#capacity = capacity;
  }
}
