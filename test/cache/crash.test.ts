// A real process, really killed: at any moment, its start and its checkpoints included.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { readCache } from '../../src/cache/reader.ts';
import { folder } from './rig.ts';

/** 200 take a minute on two cores; somebody who waits gets 40. */
const ROUNDS = process.env.CI ? 200 : 40;
const PLACES = 2;
/** From the spawn on: a start takes some 300 ms. */
const STARTING_MS = 500;
/** From the first acknowledgement on: a commit takes 20 ms, and the windows are saved after 1 s. */
const RUNNING_MS = 120;
const SAVING_MS = 1300;
const child = fileURLToPath(new URL('./crash-child.mjs', import.meta.url));

interface Moment {
  readonly from: 'spawn' | 'first commit';
  readonly ms: number;
}

/** @returns the first value that was not said to be committed. */
async function killedAt(path: string, first: number, { from, ms }: Moment): Promise<number> {
  const process_ = spawn(process.execPath, [child, path, String(first)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(process_, 'exit');
  const killLater = () => setTimeout(() => process_.kill('SIGKILL'), ms);
  if (from === 'spawn') killLater();
  let committed = first;
  for await (const line of createInterface({ input: process_.stdout })) {
    if (committed === first && from === 'first commit') killLater();
    committed = Number(line);
  }
  expect(await exit).toEqual([null, 'SIGKILL']);
  return committed;
}

function moment(round: number, share: number): Moment {
  if (round % 3 === 1) return { from: 'spawn', ms: share * STARTING_MS };
  return { from: 'first commit', ms: share * (round % 10 === 9 ? SAVING_MS : RUNNING_MS) };
}

/** One cache, killed again and again. @returns what was acknowledged, as [first value, end]. */
async function killedAgainAndAgain(path: string, rounds: number, seed: number): Promise<[number, number][]> {
  const acknowledged: [number, number][] = [];
  let state = seed;
  for (let round = 0; round < rounds; round++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    const share = state / 0x8000_0000;
    const first = round * 1_000_000;
    acknowledged.push([first, await killedAt(path, first, moment(round, share))]);
    if (round % 10 === 9) expectAll(path, acknowledged);
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
  // Each run names the one before it: the chain has no hole and no fork.
  const db = new Database(join(path, 'cache.db'), { readonly: true });
  const runs = db.prepare('SELECT seq, previous FROM runs ORDER BY seq').all() as { seq: number; previous: number }[];
  expect(runs.map(({ previous }) => previous)).toEqual([0, ...runs.map(({ seq }) => seq)].slice(0, -1));
  db.close();
}

test(`keeps every committed reading, once, through ${ROUNDS} kills at any moment, and the chain of runs`, async () => {
  const places = Array.from({ length: PLACES }, folder);
  try {
    const results = await Promise.all(
      places.map(({ path }, at) => killedAgainAndAgain(path, ROUNDS / PLACES, at * 7919 + 1)),
    );
    places.forEach(({ path }, at) => {
      expectAll(path, results[at] ?? []);
    });
    expect(results.flat().some(([first, end]) => end > first)).toBe(true);
  } finally {
    for (const { remove } of places) remove();
  }
}, 240_000);
