// The ladder on a real disk that is too small, and that somebody else fills.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CacheCore } from '../../src/cache/core.ts';
import { AlarmQuota } from '../../src/cache/ladder/alarm-quota.ts';
import { BALLAST_FILE, BallastFile, ballastBytes } from '../../src/cache/ladder/ballast.ts';
import { diskOf } from '../../src/cache/ladder/room.ts';
import { readCache } from '../../src/cache/reader.ts';
import type { AlarmRow, LadderState } from '../../src/cache/types.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { parseAlarm } from '../../src/wire/control.ts';
import { count } from '../../src/wire/ranges.ts';
import { chunk, drain, FarSide, folder, openClock, openCore, START_MS, tag } from './rig.ts';

const DISK = '26m';
const BALLAST_BYTES = ballastBytes(16_000_000);

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let far: FarSide;
let seen: LadderState[];
beforeEach(() => {
  place = folder();
  clock = openClock();
  far = new FarSide();
  seen = [];
});
afterEach(() => {
  spawnSync('umount', ['-l', disk()]);
  place.remove();
});

const disk = () => join(place.path, 'disk');
const cache = () => join(disk(), 'cache');
const other = () => join(disk(), 'other');

function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const probe = folder();
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe.path]).status === 0;
  if (mounted) spawnSync('umount', [probe.path]);
  probe.remove();
  return mounted;
}
function withDisk(name: string, work: () => void): void {
  if (canMount()) test(name, work, 60_000);
  else test.skip(`${name} (skipped: mounting a tmpfs needs root)`, work);
}

function mount(size = DISK): void {
  mkdirSync(disk());
  expect(spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'tmpfs', disk()]).status).toBe(0);
}
/** Until there is not a page left. */
function fillDisk(): void {
  spawnSync('dd', ['if=/dev/zero', `of=${other()}`, 'bs=4k']);
}

function open(): CacheCore {
  mkdirSync(cache(), { recursive: true, mode: 0o700 });
  const core = openCore(cache(), clock, {
    bytesMax: 1_000_000_000,
    diskFreeMin: 256_000_000,
    windows: [],
    disk: diskOf(cache()),
    ballast: new BallastFile(cache(), BALLAST_BYTES),
    onLadder: (state) => seen.push(state),
  });
  core.registerTag(tag(0, 'plc/x'));
  core.registerTag(tag(1, 'plc/low', 'float64', { priority: 'low' }));
  return core;
}

let said = 0;
function take(core: CacheCore, rows: number): boolean {
  const from = said;
  said += rows;
  const values = Array.from({ length: rows }, (_, i): [number, number, number] => {
    const at = from + i;
    return [at % 3 === 0 ? 1 : 0, START_MS + at * 20, Math.sin(at * 12.9898) * 43_758.5453];
  });
  core.add({
    chunk: chunk(values),
    counts: [{ source: 'plc', received: rows, rejected: 0, duplicate: 0, thinned: 0 }],
  });
  const { done } = core.commit();
  clock.advance(1000);
  return done;
}
function relieve(core: CacheCore): void {
  for (let steps = 0; core.ladderStep(); ) if (++steps > 10_000) throw new Error('it never ends');
}
function account(core: CacheCore) {
  const { sources, targets } = core.stats().ledger;
  const [source, mine] = [sources.plc, targets.cloud?.plc];
  if (source === undefined || mine === undefined) throw new Error('no account');
  return { ...source, ...mine };
}
function verify(): void {
  const reader = readCache(cache());
  expect(reader.verify()).toMatchObject({ ok: true, damaged: [], differences: [] });
  const { sources } = reader.ledger();
  for (const { received, rejected, duplicate, thinned, accepted } of Object.values(sources))
    expect(received).toBe(rejected + duplicate + thinned + accepted);
  reader.close();
}
function alarm(id: string, state: AlarmRow['state'], at: number): AlarmRow {
  return { type: 'ALARM', id, source: 'plc', condition: 'test', state, at, text: `${id} ${state}` };
}

describe('a disk that is too small', () => {
  withDisk(
    'goes through all five levels and back without a restart; alarms, counts and the ledger go on throughout',
    () => {
      said = 0;
      mount();
      const core = open();
      for (let level = 0; level < 4; ) {
        expect(take(core, 6000)).toBe(true);
        relieve(core);
        if (core.ladder.level === level) continue;
        expect(core.ladder.level).toBe(++level);
        expect(core.ladder.cause).toBe('free_disk');
        verify();
      }
      for (let i = 0; i < 20; i++) {
        expect(take(core, 6000)).toBe(true);
        relieve(core);
      }
      expect(core.ladder.level).toBe(4);
      expect(account(core).aggregated).toBeGreaterThan(0);
      expect(account(core).dropped).toBeGreaterThan(0);
      expect(statSync(join(cache(), BALLAST_FILE)).blocks * 512).toBeGreaterThanOrEqual(BALLAST_BYTES);

      fillDisk();
      // Nothing is relieved here: so the readings have to wait.
      for (let refused = 0; refused < 3; ) refused = take(core, 20_000) ? 0 : refused + 1;
      expect(core.ladder).toMatchObject({ level: 5, cause: 'full' });
      expect(statSync(join(cache(), BALLAST_FILE)).size).toBe(0);
      const waiting = core.readingsStuck();
      expect(waiting).toBeGreaterThan(0);
      core.add({
        alarms: [alarm('plc/x:hi', 'raised', START_MS)],
        counts: [{ source: 'plc', received: 7, rejected: 7, duplicate: 0, thinned: 0 }],
      });
      expect(core.commit().done).toBe(false);
      expect(core.readingsStuck()).toBe(waiting);
      expect(account(core)).toMatchObject({ rejected: 7, received: account(core).accepted + 7 });
      expect(core.alarms()).toMatchObject([{ id: 'plc/x:hi' }]);
      verify();
      // The alarm overtakes them.
      drainLane(core, 'alarm');
      expect([...far.rows].some(([key, text]) => key.includes('/0/') && text.includes('plc/x:hi'))).toBe(true);

      rmSync(other());
      clock.advance(10_000);
      relieve(core);
      expect(core.commit().done).toBe(true);
      expect(core.readingsStuck()).toBe(0);
      verify();
      drain(core, far);
      clock.advance(10_000);
      core.commit();
      clock.advance(20_000);
      core.commit();
      drain(core, far);
      expect(core.ladder.level).toBe(0);
      expect(statSync(join(cache(), BALLAST_FILE)).size).toBe(BALLAST_BYTES);
      const { received, accepted, delivered, aggregated, dropped, pending } = account(core);
      expect({ received, pending }).toEqual({ received: said + 7, pending: 0 });
      expect(accepted).toBe(said);
      expect(delivered + aggregated + dropped).toBe(accepted);
      expect(far.readings()).toHaveLength(delivered);
      const gaps = far.control.map(({ row }) => row).filter(({ type, class: of }) => type === 'GAP' && Number(of) >= 3);
      expect(gaps.reduce((sum, row) => sum + Number(row.count), 0)).toBe(aggregated + dropped);
      for (const [key, ranges] of far.explained)
        if (/\/[34]$/.test(key)) expect(count(ranges) + count(far.held.get(key) ?? [])).toBe(lastOf(far, key));
      const steps = far.control.map(({ row }) => row).filter(({ type }) => type === 'LADDER');
      expect([...new Set(steps.map(({ to }) => to))].slice(0, 5)).toEqual([1, 2, 3, 4, 5]);
      expect(steps.at(-1)).toMatchObject({ to: 0 });
      verify();
      core.close();
    },
  );

  withDisk('is filled while nearly all of a young cache is in its log: the account and acknowledgements go on', () => {
    said = 0;
    mount('44m');
    const core = open();
    const bytes = (name: string) => statSync(join(cache(), name)).size;
    while (bytes('cache.db-wal') < 7_000_000) expect(take(core, 6000)).toBe(true);
    expect(bytes('cache.db')).toBeLessThan(1_000_000);
    fillDisk();
    for (let i = 0; i < 40; i++) take(core, 6000);
    expect(core.ladder).toMatchObject({ level: 5 });
    core.add({
      alarms: [alarm('plc/x:hi', 'raised', START_MS)],
      counts: [{ source: 'plc', received: 7, rejected: 7, duplicate: 0, thinned: 0 }],
    });
    core.commit();
    expect(core.alarms()).toMatchObject([{ id: 'plc/x:hi' }]);
    expect(account(core)).toMatchObject({ rejected: 7 });
    // Nothing was relieved, but what the cloud takes makes room.
    drain(core, far);
    for (let i = 0; i < 5; i++) {
      clock.advance(5000);
      core.commit();
      drain(core, far);
    }
    expect(core.readingsStuck()).toBe(0);
    expect(account(core)).toMatchObject({ accepted: said, delivered: said, pending: 0, dropped: 0 });
    verify();
    core.close();
  });

  withDisk('is a ring of the newest readings while somebody else keeps it full', () => {
    said = 0;
    mount();
    const core = open();
    for (let i = 0; i < 20; i++) take(core, 6000);
    fillDisk();
    for (let i = 0; i < 60; i++) {
      take(core, 6000);
      relieve(core);
    }
    expect(core.readingsStuck()).toBeLessThanOrEqual(12_000);
    expect(account(core).dropped).toBeGreaterThan(0);
    verify();
    rmSync(other());
    clock.advance(10_000);
    expect(core.commit().done).toBe(true);
    drain(core, far);
    clock.advance(20_000);
    core.commit();
    drain(core, far);
    expect(account(core)).toMatchObject({ received: said, accepted: said, pending: 0 });
    verify();
    core.close();
  });
});

function drainLane(core: CacheCore, lane: 'alarm'): void {
  for (;;) {
    const batch = core.cut({ target: 'cloud', lane, rowsMax: 10_000, bytesMax: 1_000_000, liveMs: 10_000 });
    if (batch === undefined) return;
    far.take(batch);
    core.acknowledge(batch.batchId, { code: 0, rows: 0, duplicates: 0, incarnation: '00' });
  }
}
function lastOf({ held, explained }: FarSide, key: string): number {
  return Math.max(held.get(key)?.at(-1)?.to ?? 0, explained.get(key)?.at(-1)?.to ?? 0);
}

describe('alarms at level 5', () => {
  test('have a quota: beyond it repeats of one become a count, told when there is room, and first ones always pass', () => {
    const quota = new AlarmQuota();
    quota.limit(true);
    let written = 0;
    const row = (i: number) => alarm('a', i % 2 === 0 ? 'raised' : 'cleared', i);
    for (let i = 0; i < 5000; i++) written += quota.take([row(i)]).length;
    expect(written).toBe(1000);
    expect(quota.take([alarm('b', 'raised', 1)])).toHaveLength(1);
    expect(quota.due).toBe(false);
    quota.limit(false);
    expect(quota.due).toBe(true);
    const [late, ...rest] = quota.take([alarm('a', 'raised', 9999)]);
    expect(late).toMatchObject({ id: 'a', state: 'cleared', at: 4999, merged: 3999 });
    expect(rest).toMatchObject([{ at: 9999 }]);
    expect(parseAlarm(JSON.parse(JSON.stringify(late)))).toEqual(late);
    expect(quota.due).toBe(false);
  });
});
