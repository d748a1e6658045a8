// A card that was copied and a backup that was put back: whatever the copies take in afterwards has numbers of its own.
import { cpSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { chunk, drain, FarSide, folder, openClock, openCore, START_MS, tag } from './rig.ts';

test('two gateways from one card, the first one killed in the middle, lose nothing and send nothing as the same row', () => {
  const [place, far, clock] = [folder(), new FarSide(), openClock()];
  const rows = (from: number, count: number) =>
    chunk(Array.from({ length: count }, (_, i) => [0, START_MS + from + i, from + i] as const));
  const open = (name: string) => {
    const core = openCore(`${place.path}/${name}`, clock);
    core.registerTag(tag(0, 'plc/x'));
    return core;
  };
  try {
    const original = open('original');
    original.add({ chunk: rows(0, 100) });
    original.commit();
    drain(original, far);
    original.commit();
    // Of a running one: its log is copied as it is.
    cpSync(`${place.path}/original`, `${place.path}/clone`, { recursive: true });
    const clone = open('clone');
    for (const [core, from] of [
      [original, 1000],
      [clone, 2000],
    ] as const) {
      core.add({ chunk: rows(from, 50) });
      core.commit();
      core.hello(core.helloRuns('cloud'), far.answer());
      drain(core, far);
      core.commit();
      expect(core.stats().ledger.targets.cloud?.plc).toMatchObject({ delivered: 150, pending: 0, cloud_lost: 0 });
    }
    expect([far.readings().length, far.duplicates]).toEqual([200, 0]);
    // What tells the cloud of a fork: a run that found less of the one before than the cloud holds of it.
    const opens = far.control.filter(({ row }) => row.type === 'RUN_OPEN').map(({ row }) => row.previous);
    const [of] = far.held.keys();
    expect(opens).toMatchObject([null, { run: of?.split('/')[0], last: expect.arrayContaining([100]) }]);
    original.close();
    clone.close();
  } finally {
    place.remove();
  }
});
