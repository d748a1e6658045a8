/** What every block store promises, whatever it is made of. */
import { expect, test } from '@jest/globals';
import { allBlocks, type BlockRow, type BlockStore } from '../../src/cache/store.ts';
import { shelfMs } from '../../src/cache/windows/shelf.ts';

export interface StoreKind {
  open(): BlockStore;
  /** Another store with what this one had committed, as after a crash or from a copied card. */
  copy(store: BlockStore): BlockStore;
}

const bytes = (...values: number[]) => Uint8Array.from(values);

export function blockRow(id: number, more: Partial<BlockRow> = {}): BlockRow {
  const times = { firstMs: 10, lastMs: 20, monoMs: 5, wallMs: 1000 + id };
  const place = { run: 1, class: 3 as const, n0: 1, rows: 2, pending: 1, synced: true, bytes: 3 };
  return { id, ...times, ...place, counts: [[1, 2]], ...more };
}

/** Everything a store can tell. */
function facts(store: BlockStore) {
  return {
    meta: store.meta('key'),
    runs: store.runs().map((run) => ({ ...run, run: [...run.run], boot: [...run.boot] })),
    tags: store.tags().map((tag) => ({ ...tag, id: [...tag.id] })),
    sources: store.sources(),
    targets: store.targets().map((row) => ({ ...row, dictionary: row.dictionary && [...row.dictionary] })),
    blocks: [...allBlocks(store)].map((row) => ({ row, block: [...(store.block(row.id) ?? [])] })),
    ledger: store.ledger(),
    explained: store.explained('cloud').map((row) => ({ ...row, ranges: [...row.ranges] })),
    windows: store.windowsAfter(0, 100).map((row) => ({ ...row, block: [...row.block] })),
    receipts: store.receipts('broker'),
    alarms: store.alarms(),
    totals: store.totals(),
  };
}

function fill(store: BlockStore): void {
  store.setMeta('key', 'value');
  store.setBlob('hot', bytes(1, 2));
  const run = { seq: 1, run: bytes(1), boot: bytes(2), previous: 0, clean: false, openedMs: 1, last: [0, 0, 0, 0, 0] };
  store.putRun(run);
  store.addTag({ seq: 0, id: bytes(7), content: '{}', source: 1, low: true });
  store.addSource(1, 'plc');
  store.putTarget({ bit: 0, name: 'cloud', required: true, removed: false, dictionary: undefined, dictionaryCount: 0 });
  for (const id of [100, 200, 300]) store.addBlock(blockRow(id, { n0: id }), bytes(id % 256, 1, 2));
  store.addBlock(blockRow(150, { class: 0, counts: [] }), bytes(9));
  store.count('', 1, 'accepted', 6);
  store.putExplained({ target: 'cloud', run: 1, class: 3, reason: 'refused', ranges: bytes(4) });
  for (const toMs of [10, 600_010])
    store.addWindows({ periodMs: 10, fromMs: toMs - 10, toMs, rows: 1, block: bytes(toMs) });
  store.addDeadLetter({ atMs: 1, source: 'plc', subject: 'plc/x', reason: 'no', original: bytes(1) });
  store.addReceipt({ source: 'broker', packetId: 5, digest: 'a' });
  store.putAlarm('b', 'row b');
  store.putAlarm('a', 'row a');
}

export function storeContract({ open, copy }: StoreKind): void {
  const filled = (): BlockStore => {
    const store = open();
    store.transaction(() => fill(store));
    return store;
  };

  test('keeps all of a transaction, also in a copy of what was committed', () => {
    const store = filled();
    const before = facts(store);
    expect(before.blocks.map(({ row }) => row.id)).toEqual([100, 150, 200, 300]);
    expect(before).toMatchObject({ meta: 'value', alarms: ['row a', 'row b'], totals: { blocks: 4, deadLetters: 1 } });
    const other = copy(store);
    expect(facts(other)).toEqual(before);
    other.transaction(() => other.removeBlock(100));
    expect(facts(store)).toEqual(before);
  });

  test('keeps nothing of a transaction that throws, and passes on what was thrown', () => {
    const store = filled();
    const before = facts(store);
    const fault = new Error('a fault');
    const work = () => {
      store.setMeta('key', 'other');
      store.addBlock(blockRow(400), bytes(1));
      store.removeBlock(100);
      store.setPending(200, 0);
      store.addPending(2);
      store.setAside(blockRow(300), 5);
      store.count('', 1, 'accepted', 1);
      store.removeReceipts('broker');
      store.putAlarm('a', undefined);
      store.removeWindows(10, 100, 100);
      store.trimDeadLetters(0);
      throw fault;
    };
    expect(() => store.transaction(work)).toThrow(fault);
    expect(facts(store)).toEqual(before);
    store.transaction(() => store.addBlock(blockRow(400), bytes(1)));
    expect(store.lastBlockId()).toBe(400);
  });

  test('lists pending blocks of a class both ways, in pages, and sums them', () => {
    const store = filled();
    const ids = (rows: readonly BlockRow[]) => rows.map(({ id }) => id);
    store.transaction(() => store.setPending(200, 2));
    expect(ids(store.pendingBlocks(1, 3, 0, 10))).toEqual([100, 300]);
    expect(ids(store.pendingBlocks(3, 3, 101, 1))).toEqual([200]);
    expect(ids(store.pendingBlocks(1, 3, 299, 10, true))).toEqual([100]);
    expect(ids(store.pendingBlocks(1, 3, Number.MAX_SAFE_INTEGER, 1, true))).toEqual([300]);
    expect(ids(store.removableBlocks(1, 0, 10))).toEqual([200]);
    expect(store.deliveredRecords(1, 0, 10)).toEqual([]);
    expect(store.deliveredRecordsSum(1)).toEqual({ blocks: 0, bytes: 0 });
    const records = store.pendingBlocks(1, 0, 0, 10);
    expect(store.deliveredRecords(2, 0, 10)).toEqual(records);
    expect(store.deliveredRecords(2, 1 + (records.at(-1)?.id ?? 0), 10)).toEqual([]);
    expect(store.deliveredRecordsSum(2)).toEqual({ blocks: 1, bytes: 1 });
    expect(store.pendingSums(1)).toEqual([
      { class: 0, blocks: 1, rows: 2, bytes: 1, oldestMs: 1150 },
      { class: 3, blocks: 2, rows: 4, bytes: 6, oldestMs: 1100 },
    ]);
    expect(store.lastNumbers(1)).toEqual([2, 0, 0, 301, 0]);
    expect(store.lastNumbers(2)).toEqual([0, 0, 0, 0, 0]);
  });

  test('puts a piece of a block where the whole one was', () => {
    const store = filled();
    store.transaction(() => {
      store.removeBlock(100);
      store.addBlock(blockRow(101), bytes(1));
      store.addBlock(blockRow(100), bytes(2));
    });
    expect([...allBlocks(store)].map(({ id }) => id)).toEqual([100, 101, 150, 200, 300]);
    expect([...(store.block(100) ?? [])]).toEqual([2]);
  });

  test('lets pieces share what a block holds until the last is gone, and is one block again when they are joined', () => {
    const store = filled();
    const [row] = store.blocks(100, 1);
    if (row === undefined) throw new Error('filled above');
    const front = { ...row, rows: 1, bytes: 1, pending: 0 };
    const back = { ...row, id: 108, n0: 101, rows: 1, bytes: 2 };
    const content = { id: 100, n0: 100, rows: 2 };
    store.transaction(() => store.divide([row], [front, back]));
    expect(store.sharing(row)).toEqual([row]);
    const pieces = store.blocks(100, 1).flatMap((piece) => store.sharing(piece));
    expect(pieces).toEqual([
      { ...front, content },
      { ...back, content },
    ]);
    const stored = [...(store.block(100) ?? [])];
    expect([...(store.block(108) ?? [])]).toEqual(stored);
    const other = copy(store);
    other.transaction(() => other.divide(pieces, [{ ...row, pending: 3 }]));
    expect(other.blocks(100, 1)).toEqual([{ ...row, pending: 3 }]);
    // A block in the place of the first piece takes nothing from the others.
    store.transaction(() => {
      store.removeBlock(100);
      store.addBlock(blockRow(100, { n0: 100 }), bytes(42));
    });
    expect([...(store.block(100) ?? [])]).toEqual([42]);
    expect([...(store.block(108) ?? [])]).toEqual(stored);
    const used = store.bytesUsed();
    store.transaction(() => {
      store.removeBlock(108);
      store.removeBlock(100);
    });
    expect(store.block(108)).toBeUndefined();
    expect(store.block(100)).toBeUndefined();
    expect(store.bytesUsed()).toBeLessThanOrEqual(used);
    expect([...allBlocks(store)].map(({ id }) => id)).toEqual([150, 200, 300]);
  });

  test('takes out what is to be forgotten, and keeps who asked', () => {
    const store = filled();
    const [first, second] = store.windowsAfter(0, 10);
    if (first === undefined || second === undefined) throw new Error('filled above');
    store.transaction(() => {
      store.putWindows({ ...first, rows: 7, block: bytes(1, 2, 3) });
      store.putWindows({ ...second, rows: 0 });
      store.setAside(blockRow(100), 5);
      store.putAudit('b', 2, 'later');
      store.putAudit('a', 1, 'sooner');
      store.putAudit('a', 1, 'sooner, done');
    });
    expect(store.windowsAfter(0, 10)).toMatchObject([{ id: first.id, rows: 7 }]);
    expect(store.audit()).toEqual(['sooner, done', 'later']);
    store.transaction(() => {
      expect(store.removeDeadLetters('plc/other')).toBe(0);
      expect(store.removeDeadLetters('plc/x')).toBe(1);
      expect(store.removeDamaged()).toBe(1);
      store.trimAudit(1);
    });
    expect(store.audit()).toEqual(['later']);
    expect(store.totals()).toMatchObject({ deadLetters: 0, damagedBlocks: 0 });
    const before = facts(store);
    for (let state = store.wipeStep(); state !== 'done'; ) state = store.wipeStep();
    expect(facts(store)).toEqual(before);
  });

  test('keeps the holes of a block', () => {
    const store = filled();
    const row = blockRow(400, { n0: 10, rows: 3, holes: [{ from: 11, to: 12 }] });
    store.transaction(() => store.addBlock(row, bytes(1, 2, 3)));
    expect(store.blocks(400, 1)).toEqual([row]);
  });

  test('refuses a key that is there', () => {
    const store = filled();
    expect(() => store.transaction(() => store.addBlock(blockRow(100), bytes(1)))).toThrow();
    expect(() => store.transaction(() => store.addSource(1, 'other'))).toThrow();
    expect([...(store.block(100) ?? [])]).toEqual([100, 1, 2]);
  });

  test('changes only what may change of a run, and replaces targets, receipts and alarms', () => {
    const store = filled();
    const [run] = store.runs();
    const [target] = store.targets();
    if (run === undefined || target === undefined) throw new Error('filled above');
    store.transaction(() => {
      store.putRun({ ...run, boot: bytes(99), clean: true, last: [1, 2, 3, 4, 5] });
      store.putTarget({ ...target, dictionary: bytes(8), dictionaryCount: 3 });
      store.addReceipt({ source: 'broker', packetId: 5, digest: 'b' });
      store.addReceipt({ source: 'broker', packetId: 2, digest: 'c' });
      store.putAlarm('a', 'newer');
    });
    const now = facts(store);
    expect(now.runs).toMatchObject([{ boot: [2], clean: true, last: [1, 2, 3, 4, 5] }]);
    expect(now.targets).toMatchObject([{ dictionary: [8], dictionaryCount: 3 }]);
    expect(now.receipts.map(({ packetId, digest }) => `${packetId} ${digest}`)).toEqual(['2 c', '5 b']);
    expect(now.alarms).toEqual(['newer', 'row b']);
    store.transaction(() => store.removeReceipts('broker', [5]));
    expect(store.receipts('broker')).toHaveLength(1);
  });

  test('makes room: the oldest windows and dead letters go, bytes are given back', () => {
    const store = filled();
    store.transaction(() => {
      for (let id = 1000; id < 1200; id++) store.addBlock(blockRow(id), new Uint8Array(5000));
    });
    const full = store.bytesUsed();
    expect(full).toBeGreaterThan(1_000_000);
    store.transaction(() => {
      for (let id = 1000; id < 1200; id++) store.removeBlock(id);
      expect(store.removeWindows(10, 600_000, 10)).toBe(1);
      expect(store.trimDeadLetters(0)).toBe(1);
    });
    expect(store.bytesUsed()).toBeLessThan(full - 900_000);
    expect(store.windowsAfter(0, 10).map(({ id }) => id)).toEqual([2]);
    expect(store.lastWindowsId()).toBe(2);
  });

  test('removes windows by the shelf: what corrects a window stays as long as what it corrects', () => {
    const store = filled();
    const shelf = shelfMs(1000);
    const add = (toMs: number) =>
      store.addWindows({ periodMs: 1000, fromMs: toMs - 1000, toMs, rows: 1, block: bytes(1) });
    const ends = () => store.windowsAfter(0, 100).flatMap(({ periodMs, toMs }) => (periodMs === 1000 ? [toMs] : []));
    store.transaction(() => {
      for (const toMs of [shelf, 2000, shelf + 5000, 3000, 2 * shelf + 1000, 1000]) add(toMs);
      const last = store.lastWindowsId();
      expect(store.removeWindows(1000, shelf - 1, 100)).toBe(0);
      expect(store.removeWindows(1000, shelf, 1)).toBe(4);
      expect(ends()).toEqual([shelf + 5000, 2 * shelf + 1000]);
      expect(store.removeWindows(1000, Number.MAX_SAFE_INTEGER, 1)).toBe(1);
      expect(store.removeWindows(1000, Number.MAX_SAFE_INTEGER, 100)).toBe(1);
      expect(ends()).toEqual([]);
      add(4000);
      expect(store.lastWindowsId()).toBe(last + 1);
    });
  });
}
