// A cache file that is rubbish, zeros or empty under the whole gateway: it is set aside, and within ten seconds readings are
// kept and delivered again, while a person and the cloud are told.
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { systemClock } from '../../src/runtime/clock.ts';
import { sluice } from '../cli/rig.ts';
import { Site } from './in-process.ts';

jest.setTimeout(60_000);
const RUNS_WITHIN_MS = 10_000;
const SETTINGS = {
  cache: { commitInterval: '50ms' },
  sources: { made: { driver: 'simulator', every: '50ms', tags: [{ name: 'x', shape: 'counter' }] } },
};

let site: Site;
beforeEach(() => {
  site = new Site();
});
afterEach(() => site.stop());

const DAMAGE: readonly [what: string, (bytes: Buffer) => Buffer][] = [
  ['rubbish from its first byte to its last', (bytes) => randomBytes(bytes.length)],
  ['zeros', (bytes) => Buffer.alloc(bytes.length)],
  ['nothing at all', () => Buffer.alloc(0)],
];

test.each(DAMAGE)(
  'a file that is %s is set aside, and the gateway keeps and delivers within ten seconds',
  async (_, damage) => {
    await site.startCloud();
    await site.start(SETTINGS);
    const made = ({ cache }: Awaited<ReturnType<Site['until']>>) => cache.ledger.targets.cloud?.made;
    const before = await site.until('some are delivered', (status) => (made(status)?.delivered ?? 0) > 10);
    await site.end();
    const file = join(site.cache, 'cache.db');
    const bytes = damage(readFileSync(file));
    rmSync(`${file}-wal`, { force: true });
    rmSync(`${file}-shm`, { force: true });
    writeFileSync(file, bytes);
    site.log.splice(0);

    const startedMs = systemClock.monoMs();
    await site.start(SETTINGS);
    const after = await site.until('others are delivered', (status) => (made(status)?.delivered ?? 0) > 10);
    expect(systemClock.monoMs() - startedMs).toBeLessThan(RUNS_WITHIN_MS);
    const text = expect.stringMatching(/^the cache file could not be used .*; a new one was begun$/);
    expect(after.alarms).toContainEqual(expect.objectContaining({ id: 'storage/damaged', text }));
    expect(site.log).toContainEqual(expect.objectContaining({ level: 50, code: 'cache.damaged', msg: text }));
    expect(after.cache.run).not.toBe(before.cache.run);
    const aside = readdirSync(site.cache).filter((name) => /^cache\.db\.damaged-[^-]+$/.test(name));
    // Of an empty one there is nothing to keep.
    expect(aside.map((name) => readFileSync(join(site.cache, name)).equals(bytes))).toEqual(
      bytes.length === 0 ? [] : [true],
    );
    for (const name of readdirSync(site.cache)) {
      const { mode } = statSync(join(site.cache, name));
      expect([name, mode & 0o077]).toEqual([name, 0]);
    }
    await site.end();
    expect(await sluice('ledger', '--verify', '--cache', site.cache)).toMatchObject({ code: 0 });
  },
);
