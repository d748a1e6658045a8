// A real process, really killed.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { readCache } from '../../src/cache/reader.ts';
import { folder } from './rig.ts';

const ROUNDS = 20;
const child = fileURLToPath(new URL('./crash-child.mjs', import.meta.url));

/** Runs until some commits have been seen and a little longer. @returns the first value that was not said to be committed. */
async function killedRound(path: string, first: number, commits: number, longerMs: number): Promise<number> {
  const process_: ChildProcess = spawn(process.execPath, [child, path, String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(process_, 'exit');
  let committed = first;
  let seen = 0;
  const { stdout } = process_;
  if (stdout === null) throw new Error('no output');
  for await (const line of createInterface({ input: stdout })) {
    committed = Number(line);
    if (++seen === commits) setTimeout(() => process_.kill('SIGKILL'), longerMs);
  }
  const [code, signal] = await exit;
  expect([code, signal]).toEqual([null, 'SIGKILL']);
  return committed;
}

/** One cache, killed again and again. @returns what was acknowledged, as [first value, end]. */
async function killedAgainAndAgain(path: string, rounds: number, moment: number): Promise<[number, number][]> {
  const acknowledged: [number, number][] = [];
  for (let round = 0; round < rounds; round++) {
    const first = round * 1_000_000;
    // Spread over the moments of a commit, the first one of a run included.
    acknowledged.push([first, await killedRound(path, first, 1 + (round % 4), (round * 7 + moment) % 23)]);
  }
  return acknowledged;
}

function expectAll(path: string, acknowledged: readonly [number, number][]): void {
  const reader = readCache(path);
  const values = new Set<number>();
  let rows = 0;
  for (let index = 0; index < 4; index++) {
    for (const { value } of reader.range(`plc/tag${index}`, 0, Number.MAX_SAFE_INTEGER)) {
      rows++;
      values.add(Number(value));
    }
  }
  expect(values.size).toBe(rows);
  for (const [first, end] of acknowledged) {
    for (let value = first; value < end; value++) {
      if (!values.has(value)) throw new Error(`${value} was acknowledged and is gone`);
    }
  }
  expect(reader.verify()).toMatchObject({ ok: true, readings: rows });
  expect(reader.ledger().sources.plc).toMatchObject({ received: rows, accepted: rows });
  expect(reader.runs().every(({ clean }) => !clean)).toBe(true);
  reader.close();
}

test(`keeps every committed reading, once, through ${ROUNDS} kills at any moment`, async () => {
  const places = [folder(), folder()];
  const results = await Promise.all(places.map(({ path }, at) => killedAgainAndAgain(path, ROUNDS / 2, at * 11)));
  places.forEach(({ path, remove }, at) => {
    expectAll(path, results[at] ?? []);
    remove();
  });
}, 60_000);
