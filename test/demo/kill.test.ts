import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { prove } from '../../src/demo/demo.ts';
import * as ends from '../../src/demo/ends.ts';
import { demoFolder, freePorts, Parts } from '../../src/demo/parts.ts';
import { sleep, systemClock } from '../../src/runtime/clock.ts';

/** The whole of it, as real processes: plant, cloud and gateway, and a gateway that dies. */
const TEST_MS = 120_000;
const POLL_MS = 50;

let dir: string | undefined;
let parts: Parts | undefined;
afterEach(async () => {
  await parts?.stopAll();
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
});

async function start() {
  dir = mkdtempSync(join(tmpdir(), 'sluice-kill-'));
  const folder = demoFolder(dir);
  const fromMs = systemClock.wallMs();
  const deaths: Error[] = [];
  parts = new Parts({
    folder,
    ports: await freePorts(),
    clock: systemClock,
    seed: 7,
    onDied: (error) => deaths.push(error),
  });
  await parts.startPlant();
  await parts.startCloud();
  await parts.startGateway();
  const subscribedMs = await ends.sourceUp(parts, 'climate', systemClock);
  return { folder, parts, fromMs, subscribedMs, deaths };
}

async function acceptedPast(running: Parts, readings: number): Promise<void> {
  for (;;) {
    const { cache } = await ends.gatewayStatus(running);
    if (ends.sumLedger(cache.ledger).accepted >= readings) return;
    await sleep(systemClock, POLL_MS);
  }
}

describe('the whole gateway, killed', () => {
  test(
    'holds every committed reading and delivers each once when it is killed three times with SIGKILL and started again',
    async () => {
      const { folder, parts: running, fromMs, subscribedMs, deaths } = await start();
      for (let kill = 1; kill <= 3; kill++) {
        // The cloud is away when the first one dies: the next life has to deliver what this one only kept.
        if (kill === 1) await running.killCloud();
        await acceptedPast(running, kill * 200);
        await running.killGateway();
        if (kill === 1) await running.startCloud();
        await running.startGateway();
      }
      await acceptedPast(running, 800);
      const watched = { fromMs, subscribedMs, killed: true, seconds: 1, outageMs: 0, pendingMax: 0, last: undefined };
      const summary = await prove(running, folder, watched, systemClock, { started() {}, figures() {}, note() {} });
      // The gateway's own account of its lives is what explains a failure.
      const log = readFileSync(folder.log('gateway'), 'utf8');
      expect({ problems: summary.oracle.problems, log: summary.oracle.holds ? '' : log }).toEqual({
        problems: [],
        log: '',
      });
      expect(summary.oracle.holds).toBe(true);
      expect(summary.ledger.accepted).toBeGreaterThanOrEqual(800);
      expect(summary.oracle.messages).toBeGreaterThan(0);
      expect(deaths).toEqual([]);
    },
    TEST_MS,
  );
});
