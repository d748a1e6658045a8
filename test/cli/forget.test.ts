// The command line as people use it: a key and none, a gateway that runs and one that does not.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openCache, readAtRestKeys } from '../../src/cache/index.ts';
import { ChunkBuilder } from '../../src/reading.ts';
import { config as cacheConfig, folder, gated, START_MS, tag } from '../cache/rig.ts';
import { sluice } from './rig.ts';

let place: ReturnType<typeof folder>;
let file: string;
let cachePath: string;

beforeEach(() => {
  place = folder();
  cachePath = join(place.path, 'cache');
  file = join(place.path, 'sluice.yaml');
});
afterEach(() => place.remove());

/** @param more lines below `cache:` */
function configured(more = ''): void {
  writeFileSync(
    file,
    `gateway:\n  id: line3\ncache:\n  path: ${cachePath}\n${more}sources:\n  press:\n    driver: simulator\n    tags:\n      - {name: force, shape: sine}\n`,
  );
}

async function gateway(more: Record<string, unknown> = {}) {
  const settings = cacheConfig(cachePath, { commitInterval: '20ms', ...more });
  const targets = [{ name: 'cloud', required: false, dormant: true }];
  const cache = gated(await openCache(settings, { version: '0', targets }));
  cache.registerTag(tag(0, 'press/order', 'text'));
  cache.registerTag(tag(1, 'press/force'));
  const builder = new ChunkBuilder();
  for (let i = 0; i < 5; i++) {
    builder.pushText(0, START_MS + i, `order ${i}`, 0);
    builder.push(1, START_MS + i, i, 0);
  }
  cache.append({ chunk: builder.take() });
  await cache.committed();
  return cache;
}

async function json(...args: string[]) {
  const { code, out, problems: err } = await sluice(...args, '-c', file, '--json');
  return { code, err, value: out === '' ? undefined : JSON.parse(out) };
}

const query = () =>
  json(
    'query',
    'press/order',
    '--from',
    new Date(START_MS - 1000).toISOString(),
    '--to',
    new Date(START_MS + 1000).toISOString(),
  );

describe('sluice forget', () => {
  test('asks the gateway that runs, and says what went', async () => {
    configured();
    const cache = await gateway();
    try {
      const { code, value } = await json('forget', 'press/order', '--reason', 'contract ended');
      expect({ code, value }).toMatchObject({
        code: 0,
        value: { tag: 'press/order', phase: 'done', reason: 'contract ended', removed: { kept: 5 } },
      });
      expect((await query()).value).toEqual([]);
      expect((await cache.stats()).tags).toBe(2);
      expect(readdirSync(join(cachePath, 'forget'))).toEqual([]);
    } finally {
      await cache.close();
    }
    expect((await json('forget', '--list')).value).toMatchObject([{ tag: 'press/order', phase: 'done' }]);
    expect((await json('ledger', '--verify')).code).toBe(0);
  });

  test('does it alone when none runs', async () => {
    configured();
    await (await gateway()).close();
    const { code, value } = await json('forget', 'press/order');
    expect({ code, value }).toMatchObject({ code: 0, value: { phase: 'done', removed: { kept: 5 } } });
    expect((await query()).value).toEqual([]);
    expect((await json('ledger', '--verify')).code).toBe(0);
  });

  test('refuses a tag that is not there, and says what is', async () => {
    configured();
    await (await gateway()).close();
    const { code, err } = await json('forget', 'press/ordre');
    expect(code).toBe(2);
    expect(err).toContain('did you mean press/order?');
  });

  test('warns when the source will send it again', async () => {
    configured();
    await (await gateway()).close();
    expect((await json('forget', 'press/force')).err).toContain('remove it there first');
  });
});

describe('an encrypted cache', () => {
  const more = () => `  encryptAtRest: {key: ${join(place.path, 'keys', 'cache.key')}}\n`;

  test('is made, checked, read and refused by its key', async () => {
    mkdirSync(join(place.path, 'keys'));
    expect((await sluice('keygen', '--cache', '--dir', join(place.path, 'keys'))).code).toBe(0);
    configured();
    const off = await sluice('check', '-c', file);
    expect(off.code).toBe(0);
    expect(off.out).toContain('not encrypted');
    configured(more());
    const on = await sluice('check', '-c', file);
    expect(on.out).not.toContain('not encrypted');
    const key = join(place.path, 'keys', 'cache.key');
    expect(readAtRestKeys({ key, previous: [] }).current).toHaveLength(32);
    await (await gateway({ encryptAtRest: { key } })).close();
    expect((await query()).value).toHaveLength(5);
    const copy = (...args: string[]) => sluice(...args, '--cache', cachePath);
    expect((await copy('ledger')).code).toBe(0);
    // A finding is that no gateway runs.
    expect(await copy('status')).toMatchObject({ code: 1, problems: '' });
    const refused = await copy('tail', '--no-follow');
    expect(refused.code).toBe(2);
    expect(refused.problems).toContain('--key-file');
    expect((await copy('tail', '--no-follow', '--key-file', key)).code).toBe(0);
  });

  test('with a key that is missing, or that others can read, is a fault of the configuration', async () => {
    configured(more());
    const missing = await sluice('check', '-c', file);
    expect(missing.code).toBe(2);
    expect(missing.problems).toContain('cache.encryptAtRest.key');
    mkdirSync(join(place.path, 'keys'));
    writeFileSync(join(place.path, 'keys', 'cache.key'), 'ab'.repeat(32), { mode: 0o644 });
    expect((await sluice('check', '-c', file)).problems).toContain('chmod 600');
  });
});
