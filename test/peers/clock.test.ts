// The real gateway, lied to about the time of day: libfaketime answers what the test's file says, while elapsed time stays true.
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { systemClock } from '../../src/runtime/clock.ts';
import { sums, Whole } from '../whole/rig.ts';

const SHIM = ['x86_64', 'aarch64', 'arm']
  .map((machine) => `/usr/lib/${machine}-linux-gnu${machine === 'arm' ? 'eabihf' : ''}/faketime/libfaketime.so.1`)
  .find((path) => existsSync(path));
if (SHIM === undefined) console.warn('skipped: libfaketime is not installed');
const described = SHIM === undefined ? describe.skip : describe;

const S_PER_HOUR = 3600;
const S_PER_YEAR = 365 * 24 * S_PER_HOUR;
const TAGS = 20;
const EVERY_MS = 200;
/** So many rounds of polls are watched after each step: some seconds. */
const ROUNDS = 10;
const SETTINGS = {
  sources: {
    plc: { driver: 'simulator', every: `${EVERY_MS}ms`, tags: [{ name: 't', count: TAGS, shape: 'counter' }] },
  },
  cache: { commitInterval: '200ms' },
};

let whole: Whole;

beforeEach(async () => {
  whole = await Whole.make(SETTINGS);
});
afterEach(() => whole.stop());

/** Wall clock from now on: so many seconds beside the true one. */
function shift(seconds: number): void {
  const file = join(whole.path, 'time');
  writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}`);
  renameSync(`${file}.new`, file);
}

async function startGateway(): Promise<void> {
  await whole.startGateway({
    LD_PRELOAD: SHIM ?? '',
    FAKETIME_TIMESTAMP_FILE: join(whole.path, 'time'),
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    // Threads wait by monotonic time.
    FAKE_PTHREAD_DELAY: '0',
  });
}

/** What comes in while so many rounds of polls are due, by true time. */
async function rounds(): Promise<{ readonly accepted: number; readonly due: number }> {
  const before = sums(await whole.status()).accepted ?? 0;
  const startMs = systemClock.monoMs();
  const status = await whole.until('polls go on', (now) => (sums(now).accepted ?? 0) >= before + ROUNDS * TAGS);
  const due = ((systemClock.monoMs() - startMs) / EVERY_MS) * TAGS;
  return { accepted: (sums(status).accepted ?? 0) - before, due };
}

described('a gateway whose clock is wrong', () => {
  test('boots in 1970: its readings are told apart, and right and once in the cloud when the clock was set', async () => {
    const startMs = systemClock.wallMs();
    shift(-Math.floor(startMs / 1000));
    await whole.startCloud();
    await startGateway();
    await whole.until('readings with the wrong time', (status) => (sums(status).accepted ?? 0) >= ROUNDS * TAGS);
    expect(sums(await whole.status()).delivered).toBe(0);
    shift(0);
    await whole.until('readings with the right time', (status) => (sums(status).delivered ?? 0) >= 2 * ROUNDS * TAGS);
    expect(await whole.stopGateway()).toBe(0);
    const account = whole.read((reader) => ({ ok: reader.verify().ok, targets: reader.ledger().targets.cloud?.plc }));
    expect(account).toMatchObject({ ok: true, targets: { pending: 0, dropped: 0 } });
    const delivered = account.targets?.delivered ?? 0;
    const readings = await whole.cloudReadings(startMs - 1000, systemClock.wallMs() + 1000);
    // Not one is left at 1970, and each counter went up by one a reading: none twice, none missing.
    expect(readings.length).toBe(delivered);
    const first = readings.filter(({ tag }) => tag === readings[0]?.tag).map(({ v }) => Number(v));
    expect(first).toEqual(first.map((_, at) => (first[0] ?? 0) + at));
    expect(whole.read((reader) => reader.runs()).length).toBe(1);
  }, 90_000);

  test('steps by a year, back by an hour, to 1970 and to now: no stall, no burst, nothing dropped for its age', async () => {
    shift(0);
    await whole.startCloud();
    await startGateway();
    await whole.until('the first readings', (status) => (sums(status).accepted ?? 0) > 0);
    const truth = Math.floor(systemClock.wallMs() / 1000);
    for (const seconds of [S_PER_YEAR, S_PER_YEAR - S_PER_HOUR, -truth, 0]) {
      shift(seconds);
      const { accepted, due } = await rounds();
      // One round may be under way at either end.
      expect(accepted).toBeLessThanOrEqual(due + 2 * TAGS);
      expect(accepted).toBeGreaterThanOrEqual(ROUNDS * TAGS);
    }
    const status = await whole.until('all delivered', (now) => {
      const { pending = 0, accepted = 0 } = sums(now);
      return pending < ROUNDS * TAGS && accepted > 0;
    });
    expect(sums(status)).toMatchObject({ dropped: 0, aggregated: 0, damaged: 0, forgotten: 0, rejected: 0 });
    expect(status.sources[0]?.state).toBe('up');
    expect(await whole.stopGateway()).toBe(0);
    expect(whole.read((reader) => reader.verify())).toMatchObject({ ok: true });
    expect(whole.read((reader) => reader.ledger().targets.cloud?.plc)).toMatchObject({ pending: 0, dropped: 0 });
  }, 120_000);

  test('was suspended for an hour: polls go on at their pace, and what was missed is not made up for', async () => {
    shift(0);
    await whole.startCloud();
    await startGateway();
    await whole.until('the first readings', (status) => (sums(status).accepted ?? 0) >= ROUNDS * TAGS);
    const before = await whole.status();
    process.kill(whole.pid, 'SIGSTOP');
    // Asleep while ten rounds are due; the wall clock says that it was an hour.
    await new Promise((resolve) => setTimeout(resolve, 10 * EVERY_MS));
    shift(S_PER_HOUR);
    const wokenMs = systemClock.monoMs();
    process.kill(whole.pid, 'SIGCONT');
    const after = await whole.until(
      'polls go on',
      (now) => (sums(now).accepted ?? 0) >= (sums(before).accepted ?? 0) + ROUNDS * TAGS,
    );
    const due = ((systemClock.monoMs() - wokenMs) / EVERY_MS) * TAGS;
    // The round that was under way, the first after waking up, and what waited to be committed.
    expect((sums(after).accepted ?? 0) - (sums(before).accepted ?? 0)).toBeLessThanOrEqual(due + 4 * TAGS);
    expect(sums(after)).toMatchObject({ dropped: 0, rejected: 0 });
  }, 60_000);
});
