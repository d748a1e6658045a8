import { test } from '@jest/globals';
import { KILL_TEST_MS, surviveKills } from './kill.ts';

// From the gateway on each reading is proved to arrive exactly once. The plant's broker (aedes) gives a message a new packet
// id when it sends it again after a lost connection; with one that keeps ids, test/peers/kill.test.ts is strict on that leg too.
test(
  'every committed reading is delivered once when the gateway is killed three times with SIGKILL and started again',
  () => surviveKills({ mayRepeat: true, seed: 7 }),
  KILL_TEST_MS,
);
