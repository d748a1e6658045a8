// Another process reads the cache and does not end its transaction: the log grows, is bounded, and shrinks again.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { LOG_BYTES_KEPT, logBytesMax } from '../../src/cache/file-bytes.ts';
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

  reader.stdin?.end();
  await once(reader, 'exit');
  // The readings that waited find the log too large, and write it back.
  expect(core.commit().done).toBe(false);
  expect(core.commit().done).toBe(true);
  expect(commit()).toBe(true);
  expect(core.stats()).toMatchObject({ walPinned: false, full: false });
  expect(bytes('cache.db-wal')).toBeLessThanOrEqual(LOG_BYTES_KEPT);
  core.close();
}, 60_000);
