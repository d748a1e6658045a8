import { expect, test } from '@jest/globals';
import { RefusalLog } from '../../src/cloud/refusal-log.ts';
import { ManualClock } from '../../src/runtime/clock.ts';

test('a flood of refusals is one line in ten seconds for each code, which says how many were left out', () => {
  const lines: object[] = [];
  const clock = new ManualClock();
  const log = new RefusalLog({ warn: (facts: object) => lines.push(facts) }, clock);
  for (let i = 0; i < 1000; i++) log.refused('signer_unknown', { device: i });
  log.refused('busy', { device: 1 });
  clock.advance(10_000);
  log.refused('signer_unknown', { device: 7 });
  expect(lines).toEqual([
    { code: 'signer_unknown', device: 0, leftOut: 0 },
    { code: 'busy', device: 1, leftOut: 0 },
    { code: 'signer_unknown', device: 7, leftOut: 999 },
  ]);
});
