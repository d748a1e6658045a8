// The whole of it, as real processes: plant, cloud and gateway, and a gateway that dies and is started again.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { prove } from '../../src/demo/demo.ts';
import * as ends from '../../src/demo/ends.ts';
import { demoFolder, freePorts, Parts } from '../../src/demo/parts.ts';
import { seeded } from '../../src/plant/processes.ts';
import { sleep, systemClock } from '../../src/runtime/clock.ts';

export const KILL_TEST_MS = 120_000;
const KILLS = 3;
const READINGS_A_LIFE = 200;
/** A second of the sensors: the kill falls anywhere between their messages and the commits. */
const KILL_SPREAD_MS = 1000;
const POLL_MS = 50;

/**
 * @param options.broker the sensors' broker instead of the plant's own.
 * @param options.mayRepeat whether that broker sends a message again under a new packet id, which no receiver can recognise.
 */
export async function surviveKills(options: { broker?: string; mayRepeat: boolean; seed: number }): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-kill-'));
  const random = seeded(options.seed);
  const folder = demoFolder(dir);
  const fromMs = systemClock.wallMs();
  const deaths: Error[] = [];
  const parts = new Parts({
    folder,
    ports: await freePorts(),
    clock: systemClock,
    seed: options.seed,
    ...(options.broker === undefined ? {} : { broker: options.broker }),
    onDied: (error) => deaths.push(error),
  });
  try {
    await parts.startPlant();
    await parts.startCloud();
    await parts.startGateway();
    const subscribedMs = await ends.sourceUp(parts, 'climate', systemClock);
    for (let kill = 1; kill <= KILLS; kill++) {
      // The cloud is away when the first one dies: the next life has to deliver what this one only kept.
      if (kill === 1) await parts.killCloud();
      await acceptedPast(parts, kill * READINGS_A_LIFE);
      await sleep(systemClock, random() * KILL_SPREAD_MS);
      await parts.killGateway();
      if (kill === 1) await parts.startCloud();
      await parts.startGateway();
    }
    await acceptedPast(parts, (KILLS + 1) * READINGS_A_LIFE);
    const watched = {
      fromMs,
      subscribedMs,
      brokerMayRepeat: options.mayRepeat,
      seconds: 1,
      outageMs: 0,
      pendingMax: 0,
      last: undefined,
    };
    const summary = await prove(parts, folder, watched, systemClock, { started() {}, figures() {}, note() {} });
    // The gateway's own account of its lives is what explains a failure.
    const log = summary.oracle.holds ? '' : readFileSync(folder.log('gateway'), 'utf8');
    expect({ problems: summary.oracle.problems, log }).toEqual({ problems: [], log: '' });
    expect(summary.oracle.messages).toBeGreaterThan(0);
    expect(deaths).toEqual([]);
  } finally {
    await parts.stopAll();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function acceptedPast(parts: Parts, readings: number): Promise<void> {
  for (;;) {
    const { cache } = await ends.gatewayStatus(parts);
    if (ends.sumLedger(cache.ledger).accepted >= readings) return;
    await sleep(systemClock, POLL_MS);
  }
}
