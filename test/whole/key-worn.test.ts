// A key that has sealed half of what it may: a person hears of it wherever he looks, until there is another one.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { makeAtRestKey } from '../../src/cache/index.ts';
import { sluice } from '../cli/rig.ts';
import { Site } from './in-process.ts';

jest.setTimeout(60_000);

let site: Site;
beforeEach(() => {
  site = new Site();
});
afterEach(() => site.stop());

const sources = { made: { driver: 'simulator', every: '50ms', tags: [{ name: 'x', shape: 'counter' }] } };
function key(name: string): string {
  const file = join(site.folder, name);
  writeFileSync(file, makeAtRestKey(), { mode: 0o600 });
  chmodSync(file, 0o600);
  return file;
}
const settings = (encryptAtRest: object) => ({ cache: { commitInterval: '50ms', encryptAtRest }, sources });

test('a key that has sealed too much is an alarm, a line in the log, one of status and a note of check, until it is changed', async () => {
  const [first, second] = [key('first.key'), key('second.key')];
  await site.start(settings({ key: first }));
  await site.until('some readings', ({ cache }) => (cache.ledger.sources.made?.accepted ?? 0) > 10);
  const { alarms: none } = await site.until('its key', ({ cache }) => cache.atRestKey !== undefined);
  expect(none.filter(({ id }) => id === 'storage/key_worn')).toEqual([]);
  await site.end();
  const db = new Database(join(site.cache, 'cache.db'));
  db.prepare("UPDATE meta SET value = replace(value, '65536', ?) WHERE key = 'at rest rows'").run(String(2 ** 31));
  db.close();

  const text = expect.stringMatching(/^key [0-9a-f]{8} of cache\.encryptAtRest has sealed 2147\d{6} rows, 50 %/);
  await site.start(settings({ key: first }));
  const { alarms } = await site.until('the alarm', (status) =>
    status.alarms.some(({ id }) => id === 'storage/key_worn'),
  );
  expect(alarms).toContainEqual(expect.objectContaining({ id: 'storage/key_worn', state: 'raised', text }));
  expect(site.log).toContainEqual(expect.objectContaining({ level: 40, code: 'cache.key_worn', msg: text }));
  const checked = await sluice('check', '-c', join(site.folder, 'sluice.yaml'));
  expect(checked).toMatchObject({ code: 0, out: expect.stringContaining('has sealed 2147') });
  await site.end();
  expect(await sluice('status', '--cache', site.cache)).toMatchObject({
    code: 1,
    out: expect.stringContaining('storage/key_worn'),
  });

  await site.start(settings({ key: second, previous: [first] }));
  await site.until('it is over', (status) => !status.alarms.some(({ id }) => id === 'storage/key_worn'));
  expect(await sluice('check', '-c', join(site.folder, 'sluice.yaml'))).toMatchObject({
    code: 0,
    out: expect.not.stringContaining('has sealed'),
  });
});
