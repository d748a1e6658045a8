// The ledger and the receipts as they are packed into the file: what is read is what was counted, after any order of events.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { KeptLedger, readLedger } from '../../src/cache/kept-ledger.ts';
import { KeptReceipts } from '../../src/cache/kept-receipts.ts';

const digest = (text: string) => Buffer.from(text.padEnd(32, '.')).toString('base64');

describe('the ledger in its two rows', () => {
  const stored = () => {
    const rows = new Map<number, Uint8Array>();
    return {
      rows,
      read: (part: number) => rows.get(part),
      write: (part: number, counters: Uint8Array) => {
        rows.set(part, counters.slice());
      },
    };
  };
  const counts = fc.record({
    target: fc.constantFrom('', 'cloud', 'Wolke ☁'),
    source: fc.integer({ min: 1, max: 300 }),
    reason: fc.constantFrom('accepted', 'delivered', 'dropped'),
    by: fc.integer({ min: -1e12, max: 1e12 }),
  });
  const steps = fc.array(
    fc.oneof(
      { weight: 6, arbitrary: counts },
      { weight: 2, arbitrary: fc.constantFrom('commit' as const, 'roll back' as const, 'open' as const) },
      { weight: 1, arbitrary: fc.constant('many commits' as const) },
    ),
  );

  test('is the sum of what was committed, through foldings, rollbacks and new openings', () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const file = stored();
        let ledger = new KeptLedger(file);
        const committed = new Map<string, number>();
        let open = new Map<string, number>();
        const commit = () => {
          ledger.write();
          for (const [key, by] of open) committed.set(key, (committed.get(key) ?? 0) + by);
          open = new Map();
        };
        for (const step of plan) {
          if (typeof step === 'object') {
            const key = `${step.target}/${step.source}/${step.reason}`;
            ledger.count(step.target, step.source, step.reason, step.by);
            if (step.by !== 0) open.set(key, (open.get(key) ?? 0) + step.by);
          } else if (step === 'commit') commit();
          else if (step === 'many commits') {
            commit();
            for (let i = 0; i < 700; i++) {
              ledger.count('', 1, 'accepted', 1);
              open.set('/1/accepted', 1);
              commit();
            }
          } else {
            open = new Map();
            if (step === 'open') ledger = new KeptLedger(file);
            else ledger.undo();
          }
        }
        commit();
        const facts = (rows: ReturnType<typeof ledger.rows>) =>
          new Map(rows.map(({ target, source, reason, count }) => [`${target}/${source}/${reason}`, count]));
        expect(facts(ledger.rows())).toEqual(committed);
        expect(facts(readLedger(file.read) ?? [])).toEqual(committed);
        expect(new KeptLedger(file).rows()).toEqual(ledger.rows());
      }),
    );
  });

  test('is lost whole when any byte of it is wrong, and then begins empty', () => {
    const file = stored();
    const ledger = new KeptLedger(file);
    for (let i = 0; i < 700; i++) {
      ledger.count('cloud', 1 + (i % 3), 'delivered', 5);
      ledger.write();
    }
    expect([...file.rows.keys()].sort()).toEqual([0, 1]);
    for (const [part, bytes] of [...file.rows]) {
      for (let at = 0; at < bytes.length; at++) {
        const wrong = bytes.slice();
        wrong[at] = (wrong[at] ?? 0) ^ 0x10;
        file.rows.set(part, wrong);
        expect(readLedger(file.read)).toBeUndefined();
      }
      const lost = new KeptLedger(file);
      expect([lost.isLost, lost.rows()]).toEqual([true, []]);
      file.rows.set(part, bytes);
    }
    expect(new KeptLedger(file).isLost).toBe(false);
  });
});

describe('receipts', () => {
  const table = () => {
    const rows = new Map<number, { id: number; source: string; receipts: Uint8Array }>();
    return {
      rows,
      all: () => [...rows.values()].sort((a, b) => a.id - b.id),
      put: (id: number, source: string, receipts: Uint8Array | undefined) => {
        if (receipts === undefined) rows.delete(id);
        else rows.set(id, { id, source, receipts: receipts.slice() });
      },
    };
  };
  const source = fc.constantFrom('a', 'b');
  const packetId = fc.integer({ min: 1, max: 12 });
  const steps = fc.array(
    fc.oneof(
      fc.record({
        do: fc.constant('add' as const),
        source,
        packetId,
        text: fc.oneof(fc.constantFrom('x', '', 'ä'), fc.string({ maxLength: 32 }).map(digest)),
      }),
      fc.record({ do: fc.constant('remove' as const), source, packetIds: fc.option(fc.array(packetId)) }),
      fc.record({ do: fc.constantFrom('commit' as const, 'commit' as const, 'roll back' as const, 'open' as const) }),
    ),
    { maxLength: 60 },
  );

  test('are exactly those that are open, after any order of additions, releases, rollbacks and new openings', () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const file = table();
        let kept = new KeptReceipts(file);
        let [model, committed] = [new Map<string, string>(), new Map<string, string>()];
        const facts = (of: KeptReceipts) =>
          new Map(
            ['a', 'b'].flatMap((name) => of.of(name)).map((row) => [`${row.source}/${row.packetId}`, row.digest]),
          );
        for (const step of [...plan, { do: 'commit' as const }]) {
          if (step.do === 'add') {
            kept.add({ source: step.source, packetId: step.packetId, digest: step.text });
            model.set(`${step.source}/${step.packetId}`, step.text);
          } else if (step.do === 'remove') {
            kept.remove(step.source, step.packetIds ?? undefined);
            for (const key of [...model.keys()])
              if (key.startsWith(step.source) && step.packetIds?.includes(Number(key.slice(2))) !== false)
                model.delete(key);
          } else if (step.do === 'commit') {
            kept.write();
            committed = new Map(model);
          } else {
            if (step.do === 'open') kept = new KeptReceipts(file);
            else kept.undo();
            model = new Map(committed);
          }
          expect(facts(kept)).toEqual(model);
        }
        expect(facts(new KeptReceipts(file))).toEqual(model);
        if (model.size === 0) expect(file.rows.size).toBe(0);
      }),
    );
  });

  test('of one commit are one row, which goes when the last of them does', () => {
    const file = table();
    const kept = new KeptReceipts(file);
    for (let id = 1; id <= 1000; id++) kept.add({ source: 'a', packetId: id, digest: digest(String(id)) });
    kept.write();
    expect(file.rows.size).toBe(1);
    expect([...file.rows.values()][0]?.receipts.length).toBe(1000 * 35);
    kept.remove(
      'a',
      Array.from({ length: 999 }, (_, i) => i + 1),
    );
    kept.write();
    expect(kept.of('a')).toEqual([{ source: 'a', packetId: 1000, digest: digest('1000') }]);
    expect([...file.rows.values()].map(({ receipts }) => receipts.length)).toEqual([35]);
    kept.remove('a', [1000]);
    kept.write();
    expect(file.rows.size).toBe(0);
  });

  test('that are damaged are forgotten: those messages are stored again', () => {
    const file = table();
    const kept = new KeptReceipts(file);
    kept.add({ source: 'a', packetId: 7, digest: digest('x') });
    kept.write();
    file.put(1, 'a', Uint8Array.of(0, 7, 0, 1, 2));
    expect(new KeptReceipts(file).of('a')).toEqual([]);
  });
});
