/** Real cache, real sealing, real cloud, real sockets; only the cable misbehaves. */
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { systemClock } from '../../src/runtime/clock.ts';
import { Censor } from './censor.ts';
import { Plant, TAGS } from './plant.ts';

const plants: Plant[] = [];
afterEach(async () => {
  for (const plant of plants.splice(0)) await plant.stop();
});

async function plant(): Promise<Plant> {
  const made = new Plant();
  plants.push(made);
  return await made.start();
}

/** A value that no other reading has. */
const POISON = 123_456.75;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

// Real disks under load: the tests take two seconds, or ten.
jest.setTimeout(30_000);

describe('end to end', () => {
  test('50,000 readings through an outage, lost answers and a restarted cloud: each there once, equal', async () => {
    const line = await plant();
    const uplink = line.startUplink();
    for (let i = 0; i < 10; i++) {
      line.commit(1000);
      if (i === 3) line.cable.loseAnswers = 4;
      await pause(40);
    }
    line.cable.cut();
    for (let i = 0; i < 20; i++) {
      line.commit(1500);
      await pause(60);
    }
    expect(uplink.state().breaker).toBe('open');
    await line.cloud?.close();
    await line.startCloud();
    for (let i = 0; i < 10; i++) {
      line.commit(1000);
      await pause(40);
    }
    await line.drained();
    expect(line.committed).toBe(50_000);
    await line.expectAllDelivered();
    expect(line.cable.lost).toBe(4);
    expect(uplink.state()).toMatchObject({ breaker: 'closed', holds: [], refusedRows: 0 });
    expect(uplink.state().freshnessMs).toBeLessThan(5000);
    expect(uplink.state().ignored).toEqual({ unsigned: 0, foreign: 0, unknownKey: 0, malformed: 0 });
  });

  test('a restarted gateway learns by hello what was delivered before its marks were written', async () => {
    const line = await plant();
    line.commit(3000);
    // Every answer is lost: the cloud has the rows, the marks say they are pending.
    line.cable.loseAnswers = Number.MAX_SAFE_INTEGER;
    const first = line.startUplink({ timeout: '500ms' });
    await pause(600);
    await first.stop();
    expect(line.account().target).toMatchObject({ delivered: 0 });
    line.core?.close();
    line.openCache();
    line.cable.loseAnswers = 0;
    const second = line.startUplink();
    await line.drained();
    await line.expectAllDelivered();
    expect(second.state().delivered).toBeLessThan(3000);
  });

  test('a drain before the end delivers at once what would have waited for the next interval', async () => {
    const line = await plant();
    const uplink = line.startUplink({ cutInterval: '1h' });
    line.commit(100);
    await line.drained();
    line.commit(5000);
    const startedMs = performance.now();
    await uplink.drain(systemClock.monoMs() + 4000);
    expect(performance.now() - startedMs).toBeLessThan(3000);
    await uplink.stop();
    await line.expectAllDelivered();
  });

  test('a drain gives up where the cloud is away', async () => {
    const line = await plant();
    line.cable.cut();
    const uplink = line.startUplink();
    line.commit(100);
    while (uplink.state().breaker === 'closed') await pause(10);
    await uplink.drain(systemClock.monoMs() + 60_000);
    await uplink.stop();
    expect(line.account().target).toMatchObject({ delivered: 0, pending: 100 });
  });

  test('a cloud that lost its store is filled again with what is kept', async () => {
    const line = await plant();
    const uplink = line.startUplink();
    line.commit(2000);
    await line.drained();
    await line.cloud?.close();
    await line.startCloud('a new disk');
    line.commit(500);
    const endMs = performance.now() + 10_000;
    const count = async () => Object.values(await line.cloudDigest()).reduce((sum, tag) => sum + tag.count, 0);
    while ((await count()) < 2500 && performance.now() < endMs) await pause(50);
    await line.drained();
    await line.expectAllDelivered();
    expect(uplink.state().lastHelloMs).toBeDefined();
  });

  test('one reading that the cloud refuses is written off alone, by halving real batches; all others arrive', async () => {
    const line = await plant();
    const censor = await new Censor(line.keys, line.device, POISON).listen(line.cloud?.port ?? 0);
    line.besides.push(() => censor.close());
    line.cable.to = censor.port;
    const uplink = line.startUplink();
    line.commit(3000);
    line.commitPoison(POISON);
    // One row refused alone is written off only when others pass, so others must keep coming.
    while (uplink.state().refusedRows === 0) {
      line.commit(20);
      await pause(50);
    }
    await line.drained();
    await uplink.stop();
    expect(uplink.state()).toMatchObject({ refusedRows: 1, breaker: 'closed' });
    expect(line.account().target).toMatchObject({ delivered: line.committed, pending: 0, refused: 1 });
    expect(await line.cloudDigest()).toEqual(Object.fromEntries(line.expected.result()));
    const reason = expect.stringContaining('row_refused');
    expect(line.deadLetters()).toMatchObject([{ source: 'plc', subject: TAGS[0]?.name, reason }]);
    expect(censor.refused).toBeGreaterThan(10);
  });
});
