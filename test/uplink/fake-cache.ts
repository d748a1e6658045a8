/**
 * The cache at the uplink's seam: numbered rows that are pending, in flight, delivered or refused. Its "envelopes" are
 * readable, so that a scripted cloud can tell what is in them.
 */
import { randomBytes } from 'node:crypto';
import type { AckedAnswer, BatchPart, CutBatch, CutRequest, HelloQuestion, RangeSet } from '../../src/cache/types.ts';
import type { Clock } from '../../src/runtime/clock.ts';
import type { UplinkCache } from '../../src/uplink/types.ts';
import type { Lane } from '../../src/wire/classes.ts';
import { envelopeDigest } from '../../src/wire/envelope.ts';

interface Row {
  readonly n: number;
  readonly kind: 'alarm' | 'control' | 'reading';
  readonly atMs: number;
  state: 'pending' | 'flight' | 'delivered' | 'refused';
}

const RUN = 'ab'.repeat(16);
const PREFIX = Buffer.from([0x53, 0x4c, 0x43, 0x31, 1, 1, 0, 0]);

/** The numbers of the rows in an envelope of the fake cache. */
export function rowsOf(envelope: Uint8Array): number[] {
  return JSON.parse(Buffer.from(envelope.subarray(PREFIX.length)).toString()).rows;
}

export class FakeCache implements UplinkCache {
  readonly rows: Row[] = [];
  readonly acks: { batchId: string; answer: AckedAnswer }[] = [];
  readonly refusals: { rows: number[]; reason: string }[] = [];
  readonly flight = new Map<string, { rows: Row[]; bytes: number }>();
  dictionariesForgotten = 0;
  cuts = 0;
  flightMax = 0;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Commits rows; `ageMs` puts them into the past. */
  commit(count: number, kind: Row['kind'] = 'reading', ageMs = 0): void {
    const atMs = this.#clock.monoMs() - ageMs;
    for (let i = 0; i < count; i++) this.rows.push({ n: this.rows.length + 1, kind, atMs, state: 'pending' });
  }

  count(state: Row['state']): number {
    return this.rows.filter((row) => row.state === state).length;
  }

  async cut(request: CutRequest): Promise<CutBatch | undefined> {
    await Promise.resolve();
    this.cuts++;
    const rows = (request.only ? this.#part(request.only) : this.#pending(request)).slice(0, request.rowsMax);
    if (rows.length === 0) return undefined;
    const batchId = randomBytes(16).toString('hex');
    for (const row of rows) row.state = 'flight';
    const envelope = Buffer.concat([PREFIX, Buffer.from(JSON.stringify({ batchId, rows: rows.map(({ n }) => n) }))]);
    this.flight.set(batchId, { rows, bytes: envelope.length });
    this.flightMax = Math.max(this.flightMax, this.flight.size);
    const middle = rows.length >> 1;
    const halves = [rows.slice(0, middle), rows.slice(middle)].map((half) => part(batchId, half));
    return {
      batchId,
      lane: request.lane,
      envelope,
      digest: envelopeDigest(envelope),
      rows: rows.length,
      readings: rows.filter(({ kind }) => kind === 'reading').length,
      refusable: rows.filter(({ kind }) => kind === 'reading').length,
      firstMs: this.#wall(rows[0]),
      lastMs: this.#wall(rows.at(-1)),
      halves: rows.length > 1 && halves[0] && halves[1] ? [halves[0], halves[1]] : undefined,
    };
  }

  async acknowledge(batchId: string, answer: AckedAnswer): Promise<void> {
    this.acks.push({ batchId, answer });
    this.#settle(batchId, 'delivered');
  }

  async release(batchId: string): Promise<void> {
    const flight = this.flight.get(batchId);
    this.flight.delete(batchId);
    const elsewhere = new Set([...this.flight.values()].flatMap(({ rows }) => rows));
    for (const row of flight?.rows ?? []) if (!elsewhere.has(row)) row.state = 'pending';
  }

  async refuse(batchId: string, reason: string): Promise<void> {
    this.refusals.push({ rows: this.flight.get(batchId)?.rows.map(({ n }) => n) ?? [], reason });
    this.#settle(batchId, 'refused');
  }

  async helloRuns(target: string): Promise<HelloQuestion> {
    const ranges = [{ from: 1, to: Math.max(1, this.rows.length) }];
    return {
      id: 'q',
      target,
      runs: [{ run: Buffer.from(RUN, 'hex'), classes: [{ class: 3, ranges }] }],
      next: undefined,
    };
  }

  async hello(_question: HelloQuestion, answer: Parameters<UplinkCache['hello']>[1]) {
    const held = answer.held.flatMap(({ classes }) => classes.flatMap((inClass) => inClass.held));
    const marked = this.rows.filter(
      (row) => row.state === 'pending' && held.some(({ from, to }) => row.n >= from && row.n <= to),
    );
    for (const row of marked) row.state = 'delivered';
    return { marked: marked.length, reopened: 0, lost: 0 };
  }

  setRecipient(): void {}

  async forgetDictionary(): Promise<void> {
    this.dictionariesForgotten++;
  }

  async backlog() {
    const pendingRows = this.count('pending') + this.count('flight');
    const perClass = { alarm: 0, control: 0, aggregate: 0, normal: pendingRows, low: 0 };
    return { pendingRows, pendingReadings: pendingRows, pendingBytes: 0, oldestMs: undefined, perClass };
  }

  #pending({ lane, liveMs }: CutRequest): Row[] {
    const youngMs = this.#clock.monoMs() - liveMs;
    const fits: Record<Lane, (row: Row) => boolean> = {
      alarm: ({ kind }) => kind === 'alarm',
      live: ({ kind, atMs }) => kind !== 'alarm' && atMs > youngMs,
      backlog: ({ kind, atMs }) => kind !== 'alarm' && atMs <= youngMs,
    };
    return this.rows.filter((row) => row.state === 'pending' && fits[lane](row));
  }

  #part(only: BatchPart): Row[] {
    const whole = this.flight.get(only.of)?.rows ?? [];
    const wanted = new Set(only.sections.flatMap(({ ranges }) => ranges.flatMap(({ from, to }) => [from, to])));
    const min = Math.min(...wanted);
    const max = Math.max(...wanted);
    return whole.filter(({ n }) => n >= min && n <= max);
  }

  #settle(batchId: string, state: Row['state']): void {
    for (const row of this.flight.get(batchId)?.rows ?? []) row.state = state;
    this.flight.delete(batchId);
  }

  #wall(row: Row | undefined): number {
    return this.#clock.wallMs() - (this.#clock.monoMs() - (row?.atMs ?? 0));
  }
}

/** Rows of a batch are in order of n, so a half's first and last n say which they are. */
function part(of: string, rows: readonly Row[]): BatchPart {
  const ranges: RangeSet = [{ from: rows[0]?.n ?? 0, to: rows.at(-1)?.n ?? 0 }];
  return { of, sections: [{ run: RUN, class: 3, ranges }] };
}
