// A real gateway between a real broker and a disk on which every sync takes longer than the keep-alive allows silence.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { sums, Whole } from '../whole/rig.ts';
import { hasMosquitto, Mosquitto } from './mosquitto.ts';

const MESSAGES = 300;
/** A broker drops who was silent for one and a half of it (MQTT 3.1.1, section 3.1.2.10): 3 s, a sync takes 4. */
const KEEP_ALIVE = '2s';

const hasCompiler = spawnSync('cc', ['--version']).status === 0;
if (!hasMosquitto || !hasCompiler) console.warn('skipped: mosquitto or cc is not installed');
const described = hasMosquitto && hasCompiler ? describe : describe.skip;

described('a disk that is slower than the keep-alive', () => {
  test('costs no connection, and every message is acknowledged after its commit, once', async () => {
    const broker = await Mosquitto.start([]);
    const log = join(broker.folder, 'log');
    await broker.kill('SIGTERM');
    await broker.run(['allow_anonymous true', 'max_inflight_messages 0', `log_dest file ${log}`, 'log_type all']);
    const whole = await Whole.make({
      sources: {
        sensors: {
          driver: 'mqtt',
          url: broker.url,
          clientId: 'box',
          keepAlive: KEEP_ALIVE,
          topics: [{ filter: 's/+', tag: '{1}', payload: 'number' }],
        },
      },
    });
    try {
      const library = join(whole.path, 'slow.so');
      const source = fileURLToPath(new URL('./fsync-slow.c', import.meta.url));
      expect(spawnSync('cc', ['-shared', '-fPIC', '-o', library, source]).status).toBe(0);
      const slow = join(whole.path, 'slow');
      await whole.startCloud();
      await whole.startGateway({ LD_PRELOAD: library, SLUICE_FSYNC_SLOW: slow });
      await whole.until('the source is up', ({ sources }) => sources[0]?.state === 'up');
      const { since } = (await whole.status()).sources[0] ?? { since: 0 };
      writeFileSync(slow, '');
      const publisher = spawn('mosquitto_pub', ['-p', String(broker.port), '-q', '1', '-t', 's/t', '-l']);
      for (let message = 0; message < MESSAGES; message++) publisher.stdin.write(`${message}\n`);
      publisher.stdin.end();
      await once(publisher, 'exit');
      // Two syncs at least: silence of our own making would have cost the connection by now.
      await whole.until('committed by a slow disk', (status) => sums(status).accepted === MESSAGES);
      const { state, since: stillSince } = (await whole.status()).sources[0] ?? {};
      expect({ state, since: stillSince }).toEqual({ state: 'up', since });
      rmSync(slow);
      await whole.until('delivered', (status) => sums(status).delivered === MESSAGES);
      expect(await whole.stopGateway()).toBe(0);
      expect(sums({ cache: { ledger: whole.read((reader) => reader.ledger()) } as never })).toMatchObject({
        received: MESSAGES,
        accepted: MESSAGES,
        duplicate: 0,
        delivered: MESSAGES,
      });
      expect(readFileSync(log, 'utf8')).not.toContain('exceeded timeout');
    } finally {
      await whole.stop();
      await broker.stop();
    }
  }, 120_000);
});
