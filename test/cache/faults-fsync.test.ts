// A disk whose fsync fails, and that really forgets what was not synced: see fsync-fails.c.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { readCache } from '../../src/cache/reader.ts';
import { folder } from './rig.ts';

const child = fileURLToPath(new URL('./crash-child.mjs', import.meta.url));
const library = compileShim();
/** The shim as a library; undefined where there is no compiler or another C library. */
function compileShim(): string | undefined {
  const source = fileURLToPath(new URL('./fsync-fails.c', import.meta.url));
  const file = join(tmpdir(), `sluice-fsync-fails-${process.pid}.so`);
  return spawnSync('cc', ['-shared', '-fPIC', '-o', file, source, '-ldl']).status === 0 ? file : undefined;
}
afterAll(() => rmSync(library ?? '', { force: true }));

// Each starts several processes one after the other.
jest.setTimeout(30_000);

let place: ReturnType<typeof folder>;
beforeEach(() => {
  place = folder();
});
afterEach(() => place.remove());

interface Ended {
  readonly status: number | null;
  /** The first value that was not acknowledged. */
  readonly acknowledged: number;
  readonly errors: string;
}

/** Runs until it ends, or was acknowledged `enough` values. */
async function run(path: string, first: number, env: Record<string, string>, enough = Infinity): Promise<Ended> {
  const preloaded = { ...process.env, ...(library === undefined ? {} : { LD_PRELOAD: library }), ...env };
  const started: ChildProcess = spawn(process.execPath, [child, path, String(first)], {
    env: preloaded,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { stdout, stderr } = started;
  if (stdout === null || stderr === null) throw new Error('no output');
  const exit = once(started, 'exit');
  let errors = '';
  stderr.on('data', (data: Buffer) => {
    errors += data.toString();
  });
  let acknowledged = first;
  for await (const line of createInterface({ input: stdout })) {
    acknowledged = Number(line);
    if (acknowledged - first >= enough) started.kill('SIGKILL');
  }
  const [status] = await exit;
  return { status, acknowledged, errors };
}

function valuesIn(path: string): Set<number> {
  const reader = readCache(path);
  const values = [0, 1, 2, 3].flatMap((i) => reader.range(`plc/tag${i}`, 0, 1e15).map(({ value }) => Number(value)));
  expect(reader.verify()).toMatchObject({ ok: true, readings: values.length });
  reader.close();
  return new Set(values);
}
function expectExactly(values: Set<number>, from: number, to: number): void {
  for (let value = from; value < to; value++) expect(values).toContain(value);
  expect([...values].filter((value) => value >= to)).toEqual([]);
}

const withShim = library === undefined ? test.skip : test;
describe('a disk whose fsync fails', () => {
  withShim(
    'acknowledges nothing from then on and ends the process; what was acknowledged is there, and no more',
    async () => {
      for (const failsAt of [20, 26, 33]) {
        const path = join(place.path, String(failsAt));
        const { status, acknowledged, errors } = await run(path, 0, { SLUICE_FSYNC_FAILS_AT: String(failsAt) });
        expect(errors).toContain('the disk of the cache failed');
        expect(status).toBe(3);
        expect(acknowledged).toBeGreaterThan(0);
        expectExactly(valuesIn(path), 0, acknowledged);
        // And after the next start, on a disk that works again.
        const next = await run(path, acknowledged, {}, 80);
        expectExactly(valuesIn(path), 0, next.acknowledged);
      }
    },
  );

  /** A cache that died, with commits in its log. */
  async function died(): Promise<{ path: string; acknowledged: number }> {
    const path = join(place.path, 'cache');
    const { acknowledged } = await run(path, 0, {}, 200);
    return { path, acknowledged };
  }

  withShim('at a start commits nothing and leaves the file as it was', async () => {
    const { path, acknowledged } = await died();
    cpSync(path, join(place.path, 'before'), { recursive: true });
    const { acknowledged: none, errors } = await run(path, 10_000, { SLUICE_FSYNC_FAILS_AT: '1' });
    expect(none).toBe(10_000);
    expect(errors).toContain('the disk of the cache failed');
    expect(readdirSync(path).filter((name) => name.includes('damaged'))).toEqual([]);
    const after = valuesIn(path);
    for (let value = 0; value < acknowledged; value++) expect(after).toContain(value);
    expect([...after].filter((value) => value >= 10_000)).toEqual([]);
  });

  withShim('for this file alone opens a new one, and keeps the old one with all that it holds', async () => {
    const { path, acknowledged } = await died();
    const once_ = { SLUICE_FSYNC_FAILS_AT: '1', SLUICE_FSYNC_FAILS_ONCE: '1' };
    const { acknowledged: more } = await run(path, 10_000, once_, 80);
    expect(more).toBeGreaterThan(10_000);
    const [aside] = readdirSync(path).filter((name) => /damaged-[^-]+$/.test(name));
    const old = valuesIn(join(path, aside ?? ''));
    for (let value = 0; value < acknowledged; value++) expect(old).toContain(value);
    const fresh = valuesIn(path);
    for (let value = 10_000; value < more; value++) expect(fresh).toContain(value);
    expect([...fresh].filter((value) => value < 10_000)).toEqual([]);
  });
});
