import { describe, test } from '@jest/globals';
import { KILL_TEST_MS, surviveKills } from '../demo/kill.ts';
import { hasMosquitto, Mosquitto } from './mosquitto.ts';

if (!hasMosquitto) console.warn('skipped: mosquitto is not installed');
const described = hasMosquitto ? describe : describe.skip;

described('the whole gateway behind mosquitto, killed', () => {
  test(
    'every message of every sensor is in the cloud exactly once after three SIGKILLs of the gateway',
    async () => {
      const broker = await Mosquitto.start();
      try {
        await surviveKills({ broker: broker.url, mayRepeat: false, seed: 11 });
      } finally {
        await broker.stop();
      }
    },
    KILL_TEST_MS,
  );
});
