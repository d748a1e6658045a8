// Another process reads the cache and does not end its transaction: the log grows, is bounded, and shrinks again.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { LOG_BYTES_KEPT, logBytesMax } from '../../src/cache/file-bytes.ts';
import { logReaders, readersIn } from '../../src/cache/log-readers.ts';
import { watchLog } from '../../src/gateway-log-pinned.ts';
import { sluice } from '../cli/rig.ts';
import { chunk, folder, openClock, openCore, START_MS, tag } from './rig.ts';

const MB = 1_000_000;
const BYTES_MAX = 8 * MB;
/** One of random values is about 1 MB. */
const COMMITS_MAX = 150;
const ROWS = 60_000;

const sqlite = createRequire(import.meta.url).resolve('better-sqlite3');
const HOLD = `
  const db = new (require(${JSON.stringify(sqlite)}))(process.argv[1], { readonly: true });
  db.exec('BEGIN');
  db.prepare('SELECT count(*) FROM journal').get();
  process.stdout.write('held');
  process.stdin.on('end', () => db.close()).resume();
`;

const place = folder();
let reader: ChildProcess | undefined;

afterEach(() => {
  reader?.kill('SIGKILL');
  place.remove();
});

test('a reader that holds its snapshot cannot make the cache grow without end; when it ends, the log shrinks and all goes on', async () => {
  const clock = openClock();
  const core = openCore(place.path, clock, { bytesMax: BYTES_MAX, targets: [] });
  core.registerTag(tag(0, 'a/x'));
  let value = 0;
  const commit = () => {
    clock.advance(1000);
    for (let part = 0; part < 2; part++, value += ROWS) {
      const at = START_MS + value;
      core.add({ chunk: chunk(Array.from({ length: ROWS }, (_, i) => [0, at + i, Math.random()] as const)) });
    }
    return core.commit().done;
  };
  const bytes = (name: string) => statSync(join(place.path, name), { throwIfNoEntry: false })?.size ?? 0;
  expect(commit()).toBe(true);

  reader = spawn(process.execPath, ['-e', HOLD, join(place.path, 'cache.db')], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (reader.stdout === null) throw new Error('piped above');
  await once(reader.stdout, 'data');
  let commits = 0;
  while (commits < COMMITS_MAX && commit()) commits++;
  expect(commits).toBeLessThan(COMMITS_MAX);
  expect(core.stats()).toMatchObject({ walPinned: true, full: true, walBytes: bytes('cache.db-wal') });
  expect(bytes('cache.db-wal')).toBeGreaterThan(logBytesMax(BYTES_MAX));
  expect(bytes('cache.db') + bytes('cache.db-wal')).toBeLessThan(2 * BYTES_MAX + logBytesMax(BYTES_MAX));

  // Who it is.
  const holder = { pid: reader.pid, name: expect.any(String) };
  expect(logReaders(place.path)).toEqual([holder]);
  const { code, out } = await sluice('status', '--cache', place.path);
  expect({ code, out }).toEqual({ code: 1, out: expect.stringMatching(`process ${reader.pid} `) });
  const told: string[] = [];
  const watch = watchLog({
    path: place.path,
    pipeline: { gatewayAlarm: (id, isActive, text) => void told.push(`${id} ${isActive} ${text}`) },
    clock,
  });
  clock.advance(60_000);
  expect(told).toEqual([]);
  clock.advance(60_000);
  expect(told).toEqual([expect.stringMatching(`^storage/log_pinned true .* MB: process ${reader.pid} `)]);

  reader.stdin?.end();
  await once(reader, 'exit');
  // The readings that waited find the log too large, and write it back.
  expect(core.commit().done).toBe(false);
  expect(core.commit().done).toBe(true);
  expect(commit()).toBe(true);
  expect(core.stats()).toMatchObject({ walPinned: false, full: false });
  expect(bytes('cache.db-wal')).toBeLessThanOrEqual(LOG_BYTES_KEPT);
  clock.advance(60_000);
  expect(told.at(-1)).toMatch(/^storage\/log_pinned false /);
  watch.stop();
  expect(logReaders(place.path)).toEqual([]);
  core.close();
}, 60_000);

test('of the locks of a system only read marks of this file count', () => {
  const locks = [
    '1: POSIX  ADVISORY  READ 4711 08:01:1234567 124 124',
    '2: POSIX  ADVISORY  READ 4712 08:01:1234567 127 128',
    '3: POSIX  ADVISORY  READ 4713 08:01:1234567 128 128',
    '4: POSIX  ADVISORY  WRITE 4714 08:01:1234567 120 120',
    '5: POSIX  ADVISORY  READ 4715 08:01:7654321 124 124',
    '6: FLOCK  ADVISORY  WRITE 4716 08:01:1234567 0 EOF',
    '6: -> POSIX  ADVISORY  READ 4717 08:01:1234567 124 124',
    '7: POSIX  ADVISORY  READ 4711 00:2c:1234567 125 125',
  ];
  expect(readersIn(locks.join('\n'), 1234567)).toEqual([4711, 4712]);
});
