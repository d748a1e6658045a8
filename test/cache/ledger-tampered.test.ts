// Whatever is changed in the account, by whomever: the recount and the command line find it, and name where it is.
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { readCache } from '../../src/cache/index.ts';
import { recountDirectory } from '../../src/cache/recount.ts';
import { openSnapshot } from '../../src/cache/snapshot.ts';
import { differenceText } from '../../src/gateway-recount.ts';
import { sluice } from '../cli/rig.ts';
import { changeLedger } from './change-ledger.ts';
import { chunk, drain, FarSide, folder, openClock, openCore, START_MS, tag } from './rig.ts';

/** Each counter of a source, and the rules that a change of it breaks: [rule, source, target]. */
const TAMPERED = [
  ...['received', 'rejected', 'duplicate', 'thinned'].map((column) => ({
    column,
    target: '',
    by: 3,
    expected: [['intake', 'meter', ''], ...(column === 'rejected' ? [['rejected', 'meter', '']] : [])],
  })),
  { column: 'rejected/no_room', target: '', by: 3, expected: [['rejected', 'meter', '']] },
  {
    column: 'accepted',
    target: '',
    by: -3,
    expected: [
      ['intake', 'meter', ''],
      ['committed', 'meter', ''],
      ['pending', 'meter', 'cloud'],
    ],
  },
  {
    column: 'committed',
    target: '',
    by: 3,
    expected: [
      ['committed', 'meter', ''],
      ['numbers', '', ''],
    ],
  },
  ...['delivered', 'aggregated', 'damaged', 'refused', 'forgotten', 'cloud_lost'].map((column) => ({
    column,
    target: 'cloud',
    by: 3,
    expected: [['pending', 'meter', 'cloud']],
  })),
  {
    column: 'dropped',
    target: 'cloud',
    by: 3,
    expected: [
      ['pending', 'meter', 'cloud'],
      ['dropped', 'meter', 'cloud'],
    ],
  },
  { column: 'dropped/age', target: 'cloud', by: 3, expected: [['dropped', 'meter', 'cloud']] },
  {
    column: 'refused',
    target: 'cloud',
    by: -3,
    expected: [
      ['pending', 'meter', 'cloud'],
      ['negative', 'meter', 'cloud'],
    ],
  },
];

const made = folder();
let place: ReturnType<typeof folder>;
let path: string;

function open() {
  const core = openCore(path, openClock());
  core.registerTag(tag(0, 'plc/x'));
  core.registerTag(tag(1, 'meter/y'));
  return core;
}

beforeAll(() => {
  path = join(made.path, 'cache');
  const core = open();
  for (let commit = 0; commit < 14; commit++) {
    core.add({ chunk: chunk(Array.from({ length: 100 }, (_, i) => [i % 2, START_MS + commit * 1000 + i, i])) });
    core.commit();
    if (commit === 9) drain(core, new FarSide());
  }
  core.close();
});
beforeEach(() => {
  place = folder();
  path = join(place.path, 'cache');
  cpSync(join(made.path, 'cache'), path, { recursive: true });
});
afterEach(() => place.remove());
afterAll(() => made.remove());

/** As the running gateway does it, and as the command line does it: they agree. */
function recounted() {
  const { db, close } = openSnapshot(path);
  const reader = readCache(path);
  try {
    const differences = recountDirectory(db);
    expect(reader.verify()).toMatchObject({ ok: differences.length === 0, differences, damaged: [] });
    return differences;
  } finally {
    reader.close();
    close();
  }
}

describe('a ledger', () => {
  test('adds up as it was written', () => {
    expect(recounted()).toEqual([]);
  });

  test.each(TAMPERED)(
    'whose $column was changed by $by is found out, and where',
    async ({ column, target, by, expected }) => {
      changeLedger(path, 'meter', by, column, target);
      const differences = recounted();
      expect(differences.map(({ rule, source, target: to }) => [rule, source, to])).toEqual(expected);
      for (const { rule, expected: left, found } of differences)
        if (rule !== 'negative') expect(Math.abs(left - found)).toBe(Math.abs(by));
      const said = differenceText({ differences, blocks: 0, wrong: [] });
      expect(said).toMatch(/^the ledger does not add up: .*meter.* \(sluice ledger --verify\)$/);
      const { code, out } = await sluice('ledger', '--cache', path, '--verify');
      expect(code).toBe(1);
      expect(out).toMatch(/\n {2}meter.*\n(.*\n)*It does NOT add up\./);
    },
  );

  test('whose counters were changed so that they agree is found out by the numbers that readings were given', () => {
    for (const column of ['received', 'accepted', 'committed']) changeLedger(path, 'meter', 5, column);
    changeLedger(path, 'meter', 5, 'delivered', 'cloud');
    expect(recounted()).toEqual([{ rule: 'numbers', source: '', target: '', expected: 1405, found: 1400 }]);
  });

  test('that was lost begins anew with what is there, and adds up from then on', () => {
    const db = new Database(join(path, 'cache.db'));
    db.exec(
      "UPDATE ledger SET counters = x'00'; DELETE FROM journal WHERE id IN (SELECT min(id) FROM journal WHERE class = 3)",
    );
    db.close();
    const core = open();
    core.add({ chunk: chunk([[0, START_MS + 999_000, 1]]) });
    core.commit();
    core.close();
    expect(recounted()).toEqual([]);
  });
});

test('a counter of a source that nobody knows is a difference, too', () => {
  const db = new Database(join(path, 'cache.db'));
  db.exec("UPDATE sources SET name = 'other' WHERE name = 'meter'");
  db.close();
  expect(recounted()).toEqual([]);
  changeLedger(path, 'other', 1, 'received');
  expect(recounted()).toEqual([expect.objectContaining({ rule: 'intake', source: 'other' })]);
});

test('a damaged block is named: run, numbers, source, what becomes of it, what to do, in 80 columns', async () => {
  const db = new Database(join(path, 'cache.db'));
  const sql = 'SELECT id, n0, block FROM blocks JOIN journal USING (id) WHERE class = 3 AND pending <> 0 LIMIT 1';
  const { id, n0, block } = db.prepare(sql).get() as { id: number; n0: number; block: Buffer };
  const at = block.length >> 1;
  block[at] = (block[at] ?? 0) ^ 0x10;
  db.prepare('UPDATE blocks SET block = ? WHERE id = ?').run(block, id);
  db.close();
  const reader = readCache(path);
  const [run] = reader.runs();
  expect(reader.verify()).toMatchObject({
    ok: false,
    differences: [],
    damaged: [{ id, run: run?.run, class: 'normal', from: n0, readings: { plc: 50, meter: 50 }, pending: ['cloud'] }],
  });
  reader.close();
  const { code, out } = await sluice('ledger', '--cache', path, '--verify');
  expect(code).toBe(1);
  for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  const text = out.replaceAll(/\s+/g, ' ');
  expect(text).toContain(
    `DAMAGED: block ${id} does not read back as it was written: 100 readings: 50 of plc, 50 of meter; run`,
  );
  expect(text).toContain(`run ${run?.run.slice(0, 8)}, class normal, numbers ${n0.toLocaleString('en-US')} to`);
  expect(text).toMatch(
    /Start the gateway: when its turn comes to be sent to cloud, it is set aside, the ledger has it as damaged/,
  );
  expect(text).toMatch(/The sums add up; what is damaged does not read back\. → Look at dmesg, and check the card/);
  expect(text).toContain(`copy ${path} now`);
});
