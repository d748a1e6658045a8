// One flipped bit in a block that waits for the cloud: a person hears of it without having to recount the ledger.
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import Database from 'better-sqlite3';
import type { AlarmRow, DamageNote } from '../../src/cache/types.ts';
import type { GatewayStatus } from '../../src/gateway.ts';
import { tellStorage } from '../../src/gateway-read-only.ts';
import { sluice } from '../cli/rig.ts';
import { Site } from './in-process.ts';

jest.setTimeout(60_000);
const SETTINGS = {
  cache: { commitInterval: '50ms' },
  sources: { made: { driver: 'simulator', every: '50ms', tags: [{ name: 'x', shape: 'counter' }] } },
};

let site: Site;
beforeEach(() => {
  site = new Site();
});
afterEach(() => site.stop());

const damaged = ({ cache }: GatewayStatus) => cache.ledger.targets.cloud?.made?.damaged ?? 0;

function flip(): { id: number; rows: number } {
  const db = new Database(join(site.cache, 'cache.db'));
  try {
    const { id, rows, block } = db
      .prepare(
        'SELECT id, rows, block FROM blocks JOIN journal USING (id) WHERE class = 3 AND pending <> 0 LIMIT 1 OFFSET 3',
      )
      .get() as { id: number; rows: number; block: Buffer };
    const at = block.length >> 1;
    block[at] = (block[at] ?? 0) ^ 0x10;
    db.prepare('UPDATE blocks SET block = ? WHERE id = ?').run(block, id);
    return { id, rows };
  } finally {
    db.close();
  }
}

test('a block that is damaged is an alarm, a line in the log and one of status, with what it cost', async () => {
  // Its port is known from now on.
  await site.startCloud();
  await site.stopCloud();
  await site.start(SETTINGS);
  await site.until('some readings', ({ cache }) => (cache.ledger.sources.made?.accepted ?? 0) > 50);
  await site.end();
  const { id, rows } = flip();
  await site.startCloud();
  site.log.splice(0);
  await site.start(SETTINGS);
  const { alarms } = await site.until('the damage', (status) => damaged(status) === rows);
  const text = expect.stringMatching(`^block ${id} does not read back as written: ${rows} readings .* are lost`);
  expect(alarms).toContainEqual(expect.objectContaining({ id: 'storage/damaged', state: 'raised', text }));
  expect(site.log).toContainEqual(expect.objectContaining({ level: 50, code: 'cache.damaged', msg: text }));
  await site.end();
  const { code, out } = await sluice('status', '--cache', site.cache);
  expect({ code, out }).toEqual({
    code: 1,
    out: expect.stringMatching(/storage\/damaged +raised .*does not read back/),
  });
  expect(await sluice('ledger', '--cache', site.cache, '--verify')).toMatchObject({ code: 0 });
});

test('the alarm stays until somebody has seen it, and is over at the next start without any', () => {
  const said: (string | boolean)[][] = [];
  const told = (state: AlarmRow['state'], damage: readonly DamageNote[]) => {
    said.splice(0);
    const active: AlarmRow = { type: 'ALARM', id: 'storage/damaged', condition: 'fault', state, at: 0, text: 'before' };
    const pipeline = {
      gatewayAlarm: (id: string, isActive: boolean) => void said.push([id, isActive]),
      activeAlarms: () => [active],
    };
    tellStorage({ cache: { damage, onDamage: () => {} } }, pipeline, { error: () => {} });
    return said.slice();
  };
  expect(told('raised', [])).toEqual([]);
  expect(told('acknowledged', [])).toEqual([['storage/damaged', false]]);
  expect(told('acknowledged', [{ atMs: 0, what: 'file', text: 'anew' }])).toEqual([['storage/damaged', true]]);
});
