// Why readings were rejected or dropped, in the file, by source, in the transaction that counts them.
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { countDropped, RejectionReasons, takeFromReasons } from '../../src/cache/ledger-reasons.ts';
import { readCache } from '../../src/cache/reader.ts';
import type { CommitCounts } from '../../src/cache/types.ts';
import { MemoryStore } from '../../src/simulate/memory-store.ts';
import { sluice, sluiceJson } from '../cli/rig.ts';
import { chunk, folder, openClock, openCore, START_MS, tag } from './rig.ts';

let place: ReturnType<typeof folder>;
let path: string;
beforeEach(() => {
  place = folder();
  path = join(place.path, 'cache');
});
afterEach(() => place.remove());

function rejected(source: string, reasons: Readonly<Record<string, number>>, more = 0): CommitCounts {
  const counts = new Map(Object.entries(reasons));
  const all = [...counts.values()].reduce((sum, by) => sum + by, more);
  return { source, received: all, rejected: all, duplicate: 0, thinned: 0, reasons: counts };
}

describe('reasons of rejection', () => {
  test('are in the file by source with the sum they add up to, over restarts, and a person reads them', async () => {
    const core = openCore(path, openClock());
    core.add({
      counts: [rejected('plc', { out_of_range: 12, no_room: 3 }), rejected('meter', { out_of_range: 1 }, 4)],
    });
    core.commit();
    core.close();
    const again = openCore(path, openClock());
    again.add({ counts: [rejected('plc', { out_of_range: 2 })] });
    again.commit();
    const { rejections, sources } = again.stats().ledger;
    expect(rejections).toEqual({ plc: { out_of_range: 14, no_room: 3 }, meter: { out_of_range: 1, unstated: 4 } });
    expect([sources.plc?.rejected, sources.meter?.rejected]).toEqual([17, 5]);
    again.close();
    const { code, out } = await sluice('ledger', '--cache', path, '--verify');
    expect(code).toBe(0);
    expect(out).toMatch(/^plc +14 +rejected +out_of_range: outside min and max of its tag$/m);
    expect(out).toMatch(/^meter +4 +rejected +unstated/m);
    expect(await sluiceJson('ledger', '--cache', path)).toMatchObject({ facts: { ledger: { rejections } } });
    expect((await sluice('status', '--cache', path)).out).toMatch(
      /^rejected +22 \(15 out_of_range, 4 unstated, 3 no_room\)$/m,
    );
  });

  test('come with the rejected rows of the readings that a full cache keeps waiting', () => {
    const core = openCore(path, openClock());
    core.registerTag(tag(0, 'plc/x'));
    core.add({
      chunk: chunk([[0, START_MS, 1]]),
      counts: [
        { source: 'plc', received: 3, rejected: 2, duplicate: 0, thinned: 0, reasons: new Map([['wrong_type', 2]]) },
      ],
    });
    core.commit();
    core.close();
    const reader = readCache(path);
    expect(reader.verify()).toMatchObject({ ok: true });
    expect(reader.ledger().rejections).toEqual({ plc: { wrong_type: 2 } });
    reader.close();
  });

  test('do not make the ledger grow: of what a source makes up, 64 have a counter, one line each', () => {
    const store = new MemoryStore();
    const reasons = new RejectionReasons(store);
    const names = Array.from({ length: 100 }, (_, i) => reasons.named(`no \n${i} \u001b[2J${'x'.repeat(500)}`));
    expect(new Set(names).size).toBe(65);
    expect(names.at(-1)).toBe('other');
    for (const name of names) expect(name).toMatch(/^[ -~]{1,60}$/);
    expect(reasons.named(' \n ')).toBe('other');
  });
});

test('what was dropped and is held after all is taken from its reasons, never below zero', () => {
  const drops = fc.array(
    fc.tuple(fc.constantFrom('bytes', 'age', 'full', 'free_disk'), fc.integer({ min: 1, max: 50 })),
  );
  fc.assert(
    fc.property(drops, fc.nat(100), (all, share) => {
      const store = new MemoryStore();
      store.transaction(() => {
        for (const [why, readings] of all) countDropped(store, 'cloud', [[1, readings]], why as 'bytes');
        const sum = all.reduce((before, [, readings]) => before + readings, 0);
        const held = Math.floor((sum * share) / 100);
        store.count('cloud', 1, 'dropped', -held);
        takeFromReasons(store, 'cloud', 1, held);
        const rows = store.ledger();
        const left = rows.filter(({ reason }) => reason.startsWith('dropped/')).map(({ count }) => count);
        expect(left.reduce((before, count) => before + count, 0)).toBe(sum - held);
        expect(left.every((count) => count >= 0)).toBe(true);
      });
    }),
  );
});
