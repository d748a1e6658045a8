/**
 * The latest values of 10,000 tags, as a panel or a program gets them: `GET /values` of a gateway that polls all of them
 * once a second meanwhile (20 simulated lines of 500), from the question until the last byte of the answer is here.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { undoing } from './cleanup.ts';
import { quantile } from './quantile.ts';
import type { BenchResult } from './result.ts';
import { type Gateway, Rig } from './rig.ts';

const LINES = 20;
const TAGS_A_LINE = 500;
const WARM_UP = 20;
const ASKED = 300;
const ASKED_QUICK = 50;
/** No part of a second: the questions fall between the polls and among them. */
const PAUSE_MS = 37;
const P99_MS_MAX = 10;

export async function benchLatest({ quick }: { readonly quick: boolean }): Promise<BenchResult[]> {
  return undoing(async (undo) => {
    const tags = [{ name: 'value', count: TAGS_A_LINE, shape: 'random-walk' }];
    const line = { driver: 'simulator', every: '1s', tags };
    const sources = Object.fromEntries(Array.from({ length: LINES }, (_, at) => [`line${at}`, line]));
    const gateway = await new Rig(undo).gateway({ sources });
    await gateway.until('all have been read', (status) => status.tags === LINES * TAGS_A_LINE);
    const first = await asked(gateway);
    for (let i = 1; i < WARM_UP; i++) await asked(gateway);
    const times: number[] = [];
    const before = gateway.usage().mainUs;
    const startMs = performance.now();
    while (times.length < (quick ? ASKED_QUICK : ASKED)) {
      times.push(await asked(gateway));
      await sleep(PAUSE_MS);
    }
    const mainUs = gateway.usage().mainUs - before;
    const seconds = (performance.now() - startMs) / 1000;
    const idleBefore = gateway.usage().mainUs;
    await sleep(seconds * 1000);
    const idleUs = gateway.usage().mainUs - idleBefore;
    const name = 'latest of 10,000 tags, GET /values';
    return [
      { name: `${name}: p50`, value: quantile(times, 0.5), unit: 'ms' },
      { name: `${name}: p99`, value: quantile(times, 0.99), unit: 'ms', target: P99_MS_MAX },
      { name: `${name}: first`, value: first, unit: 'ms' },
      { name: `${name}: CPU, main thread`, value: (mainUs - idleUs) / times.length / 1000, unit: 'ms' },
    ];
  });
}

async function asked(gateway: Gateway): Promise<number> {
  const startMs = performance.now();
  const text = await gateway.text('/values');
  const ms = performance.now() - startMs;
  const { values } = JSON.parse(text) as { values: unknown[] };
  if (values.length !== LINES * TAGS_A_LINE) throw new Error(`${values.length} values`);
  return ms;
}
