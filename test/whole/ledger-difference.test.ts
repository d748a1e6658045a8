// Somebody changes the ledger in the file while the gateway is off: it says so by itself, and again when it adds up.
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import type { GatewayStatus } from '../../src/gateway.ts';
import { changeLedger } from '../cache/change-ledger.ts';
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

const alarm = ({ alarms }: GatewayStatus) => alarms.find(({ id }) => id === 'ledger_difference');

const change = (by: number) => changeLedger(site.cache, 'made', by);

test('a ledger row that was changed between two starts is an alarm, and none any more when it is put right', async () => {
  await site.start(SETTINGS);
  await site.until('some readings', ({ cache }) => (cache.ledger.sources.made?.accepted ?? 0) > 20);
  await site.end();
  change(7);
  const verified = await sluice('ledger', '--cache', site.cache, '--verify');
  expect(verified.code).toBe(1);
  expect(verified.out).toMatch(/It does NOT add up/);

  await site.start(SETTINGS);
  const status = await site.until('the alarm', (each) => alarm(each) !== undefined);
  expect(alarm(status)).toMatchObject({
    state: 'raised',
    text: expect.stringMatching(
      /made: [\d,]+ received, but [\d,]+ .*; made to cloud: [\d,]+ expected pending, [\d,]+ found/,
    ),
  });
  const [, expected, found] = /([\d,]+) expected pending, ([\d,]+) found/.exec(alarm(status)?.text ?? '') ?? [];
  expect(Number(expected?.replaceAll(',', '')) - Number(found?.replaceAll(',', ''))).toBe(7);
  await site.end();

  change(-7);
  site.log.splice(0);
  await site.start(SETTINGS);
  await site.until('a recount', () => site.log.some(({ msg }) => msg === 'the ledger was counted again and adds up'));
  expect(alarm(await site.until('status', () => true))).toBeUndefined();
  await site.end();
  expect((await sluice('ledger', '--cache', site.cache, '--verify')).code).toBe(0);
});
