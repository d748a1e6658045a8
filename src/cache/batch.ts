/** Selected rows into a sealed batch: blocks of one run and class merged, dictionary, compressed, sealed, signed. */
import { randomBytes } from 'node:crypto';
import { encodeBlock, joinBlocks } from '../wire/block.ts';
import { hex } from '../wire/bytes.ts';
import { holdsReadings, isRefusable } from '../wire/classes.ts';
import { BROTLI_QUALITY_STRONG, CODEC, compress } from '../wire/compress.ts';
import { BATCH_ID_BYTES, envelopeDigest, seal } from '../wire/envelope.ts';
import type { CloudPublic, DeviceKey } from '../wire/keys.ts';
import { type Dictionary, dictionaryHash, encodePayload, type Section, type SectionBody } from '../wire/payload.ts';
import { count, type RangeSet, rangeSet, union } from '../wire/ranges.ts';
import { encodeRecords } from '../wire/records.ts';
import type { RunBook, TagBook } from './books.ts';
import { type Content, openContent, selectContent } from './content.ts';
import type { InFlight } from './flight.ts';
import type { Part } from './marks.ts';
import { rowsOf, type Selected } from './select.ts';
import {
  BLOCK_ID_STEP,
  BLOCK_ROWS_MAX,
  type BlockRow,
  type BlockStore,
  firstId,
  lastNumber,
  type TargetRow,
} from './store.ts';
import type { BatchPart, CutBatch, CutRequest, PartSection } from './types.ts';

/** Blocks whose unset clocks agree to this go into one section: it holds one pair of times. */
const CLOCK_GRAIN_MS = 5;

export interface Sealing {
  readonly device: DeviceKey;
  readonly cloud: CloudPublic;
}

export interface Built {
  readonly batch: CutBatch;
  readonly inFlight: InFlight;
}

interface Opened extends Selected {
  readonly content: Content;
  /** As it travels, where that is known already. */
  readonly plain: Uint8Array | undefined;
}

export class BatchBuilder {
  readonly #store: BlockStore;
  readonly #runs: RunBook;
  readonly #tags: TagBook;
  #large: { readonly of: BlockRow; readonly stored: Uint8Array; readonly content: Content } | undefined;

  constructor(store: BlockStore, runs: RunBook, tags: TagBook) {
    this.#store = store;
    this.#runs = runs;
    this.#tags = tags;
  }

  /** @returns the batch, or the blocks that turned out to be damaged and have to go first. */
  build(
    selected: readonly Selected[],
    target: TargetRow,
    request: CutRequest,
    sealing: Sealing,
    cutMs: number,
  ): Built | { damaged: BlockRow[] } {
    const damaged: BlockRow[] = [];
    const opened = selected.flatMap((one) => this.#open(one, damaged));
    if (damaged.length > 0) return { damaged };
    const sections = group(opened).flatMap((blocks) => this.#sections(blocks));
    const dictionary = this.#dictionary(opened, target);
    const plain = encodePayload({ dictionary, sections });
    const codec = CODEC[request.codec ?? 'brotli'];
    const isStronger = request.stronger === true && codec === CODEC.brotli;
    const payload = compress(plain, codec, isStronger ? BROTLI_QUALITY_STRONG : undefined);
    const batchId = randomBytes(BATCH_ID_BYTES);
    const rows = rowsOf(selected);
    const { device, cloud } = sealing;
    const { lane } = request;
    const envelope = seal({
      payload,
      plainLen: plain.length,
      rows,
      codec,
      lane,
      batchId,
      cutMs,
      device,
      recipient: cloud.recipient,
    });
    const id = hex(batchId);
    const readings = selected.filter(({ row }) => holdsReadings(row.class));
    const times = readings.length > 0 ? readings : selected;
    const batch: CutBatch = {
      batchId: id,
      lane,
      envelope,
      digest: envelopeDigest(envelope),
      rows,
      readings: rowsOf(readings),
      refusable: rowsOf(selected.filter(({ row }) => isRefusable(row.class))),
      firstMs: times.reduce((first, { row }) => Math.min(first, row.firstMs), Number.POSITIVE_INFINITY),
      lastMs: times.reduce((last, { row }) => Math.max(last, row.lastMs), Number.NEGATIVE_INFINITY),
      halves: this.#halves(id, selected),
    };
    const count = dictionary.baseCount + dictionary.added.length;
    const confirmed = count === 0 ? undefined : { hash: dictionaryHash(dictionary.base, dictionary.added), count };
    return {
      batch,
      inFlight: { batchId: id, target: target.name, lane, parts: partsOf(selected), dictionary: confirmed },
    };
  }

  #open(selected: Selected, damaged: BlockRow[]): Opened[] {
    try {
      return [{ ...selected, ...this.#opened(selected) }];
    } catch {
      damaged.push(selected.row);
      return [];
    }
  }

  /** A large block goes in some batches, one after the other: it is kept open in between. */
  #opened({ row, ranges }: Selected): Pick<Opened, 'content' | 'plain'> {
    const stored = this.#store.block(row.id);
    if (row.rows <= BLOCK_ROWS_MAX || stored === undefined) return openContent(row, stored);
    const known = this.#large;
    this.#large = undefined;
    const isKnown =
      known !== undefined &&
      known.of.n0 <= row.n0 &&
      lastNumber(known.of) >= lastNumber(row) &&
      Buffer.compare(known.stored, stored) === 0;
    const content = isKnown ? known.content : openContent(row, stored).content;
    if ((ranges.at(-1)?.to ?? 0) < lastNumber(row)) this.#large = isKnown ? known : { of: row, stored, content };
    return { content, plain: undefined };
  }

  #sections(blocks: readonly Opened[]): Section[] {
    const [first] = blocks;
    const run = first && this.#runs.bySeq(first.row.run);
    if (first === undefined || run === undefined) return [];
    const { class: classNumber, synced, wallMs, monoMs } = first.row;
    const clock = synced ? {} : { clock: { boot: run.boot, wallMs, monoMs } };
    return bodies(blocks).map((body) => ({ run: run.run, class: classNumber, ...clock, body }));
  }

  /** New tags go in with the first rows that need them, gapless up to the highest. */
  #dictionary(opened: readonly Opened[], { dictionary, dictionaryCount }: TargetRow): Dictionary {
    const highest = opened.reduce((max, { content }) => {
      return content.kind === 'readings' ? Math.max(max, content.columns.tags.at(-1)?.tag ?? -1) : max;
    }, -1);
    const baseCount = dictionary === undefined ? 0 : dictionaryCount;
    return { base: dictionary, baseCount, added: this.#tags.ids(baseCount, highest + 1) };
  }

  #halves(of: string, selected: readonly Selected[]): readonly [BatchPart, BatchPart] | undefined {
    const rows = rowsOf(selected);
    if (rows < 2) return undefined;
    const first: PartSection[] = [];
    const second: PartSection[] = [];
    let left = rows >> 1;
    for (const { row, ranges } of selected) {
      const run = hex(this.#runs.bySeq(row.run)?.run ?? new Uint8Array());
      for (const { from, to } of ranges) {
        const taken = Math.min(left, to - from + 1);
        left -= taken;
        if (taken > 0) first.push({ run, class: row.class, ranges: [{ from, to: from + taken - 1 }] });
        if (from + taken <= to) second.push({ run, class: row.class, ranges: [{ from: from + taken, to }] });
      }
    }
    return [
      { of, sections: joined(first) },
      { of, sections: joined(second) },
    ];
  }
}

/** What can travel as one section: one run and class, under clocks that agree. */
function group(opened: readonly Opened[]): Opened[][] {
  const groups = new Map<string, Opened[]>();
  for (const one of opened) {
    const { run, class: classNumber, synced, wallMs, monoMs } = one.row;
    const key = `${run} ${classNumber} ${synced ? '' : Math.round((wallMs - monoMs) / CLOCK_GRAIN_MS)}`;
    const found = groups.get(key);
    if (found === undefined) groups.set(key, [one]);
    else found.push(one);
  }
  return [...groups.values()];
}

function bodies(blocks: readonly Opened[]): SectionBody[] {
  const [only] = blocks;
  if (only === undefined) return [];
  if (only.content.kind === 'records') return blocks.flatMap(recordBodies);
  if (blocks.length === 1 && only.plain !== undefined && count(only.ranges) === only.row.rows)
    return [{ kind: 'readings', block: only.plain }];
  const columns = blocks.flatMap(({ content, ranges }) => {
    const some = selectContent(content, ranges);
    return some?.kind === 'readings' ? [some.columns] : [];
  });
  return joinBlocks(columns).map((block) => ({ kind: 'readings', block: encodeBlock(block) }));
}

function recordBodies({ row, content, ranges, plain }: Opened): SectionBody[] {
  if (plain !== undefined && count(ranges) === row.rows)
    return [{ kind: 'records', n0: row.n0, count: row.rows, bytes: plain }];
  return ranges.flatMap((range): SectionBody[] => {
    const some = selectContent(content, [range]);
    if (some?.kind !== 'records') return [];
    return [{ kind: 'records', n0: range.from, count: some.records.length, bytes: encodeRecords(some.records) }];
  });
}

function partsOf(selected: readonly Selected[]): Part[] {
  const parts = new Map<string, { run: number; class: Part['class']; ranges: RangeSet; fromId: number }>();
  for (const { row, ranges } of selected) {
    const key = `${row.run} ${row.class}`;
    const part = parts.get(key);
    // Neither its pieces, nor what they become when they are whole again, come to lie before: nothing in flight is rolled.
    const fromId = Math.floor(firstId(row) / BLOCK_ID_STEP) * BLOCK_ID_STEP;
    if (part === undefined) parts.set(key, { run: row.run, class: row.class, ranges, fromId });
    else Object.assign(part, { ranges: union(part.ranges, ranges), fromId: Math.min(part.fromId, fromId) });
  }
  return [...parts.values()];
}

function joined(sections: readonly PartSection[]): PartSection[] {
  const found = new Map<string, PartSection>();
  for (const { run, class: classNumber, ranges } of sections) {
    const key = `${run} ${classNumber}`;
    const before = found.get(key)?.ranges ?? [];
    found.set(key, { run, class: classNumber, ranges: rangeSet([...before, ...ranges]) });
  }
  return [...found.values()];
}
