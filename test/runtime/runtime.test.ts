import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from '@jest/globals';
import { startCalendar } from '../../src/runtime/calendar.ts';
import { type Clock, ManualClock } from '../../src/runtime/clock.ts';
import { readCredential, readSecretFile } from '../../src/runtime/credentials.ts';
import { HIDDEN, hider, openLog } from '../../src/runtime/log.ts';
import { Metrics } from '../../src/runtime/metrics.ts';

const run = promisify(execFile);

describe('log', () => {
  async function logged(
    secrets: string[],
    write: (logger: Awaited<ReturnType<typeof openLog>>['logger']) => void,
    format: 'json' | 'pretty' = 'json',
  ) {
    const lines: string[] = [];
    const log = await openLog({ level: 'info', format }, secrets, { write: (line) => lines.push(line) });
    write(log.logger);
    return lines.join('');
  }

  test('is one JSON object a line, with level and time by name', async () => {
    const line = await logged([], (logger) => logger.warn({ source: 'plc', code: 'modbus.timeout' }, 'plc is down'));
    expect(JSON.parse(line)).toEqual({
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      source: 'plc',
      code: 'modbus.timeout',
      msg: 'plc is down',
    });
  });

  test('shows no secret: not in a message, a field, a stack, a URL, nor as JSON writes it', async () => {
    const secret = 'pa"ss\nword 1';
    const text = await logged([secret, 'pa"ss'], (logger) => {
      logger.info({ url: `mqtt://bob:${encodeURIComponent(secret)}@host` }, `cannot log in with ${secret}`);
      logger.error(new Error(`refused: ${secret}`));
      logger.error({ deep: { er: [{ why: secret }] } });
    });
    expect(text).not.toMatch(/word 1|word%201/);
    expect(text.split(HIDDEN).length).toBeGreaterThanOrEqual(5);
    for (const line of text.trim().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
  });

  test('hides what stands under a telling name, known or not', async () => {
    const text = await logged([], (logger) =>
      logger.info({
        password: 'hunter2',
        nested: { apiToken: 'abc', headers: { Authorization: 'Bearer x"y' } },
        secretKey: 12,
        tokens: 3,
        tag: 'plain',
      }),
    );
    expect(JSON.parse(text)).toMatchObject({
      password: HIDDEN,
      nested: { apiToken: HIDDEN, headers: { Authorization: HIDDEN } },
      secretKey: HIDDEN,
      tokens: 3,
      tag: 'plain',
    });
  });

  test('is pretty when asked to be', async () => {
    const text = await logged(['hunter2'], (logger) => logger.info({ source: 'plc' }, 'password is hunter2'), 'pretty');
    expect(text).toMatch(/INFO.*password is \[secret\]/);
    expect(text).toContain('source: "plc"');
  });

  test('hides the longer of two secrets that overlap', () => {
    expect(hider(['abcd', 'abcdefgh'])('x abcdefgh y')).toBe(`x ${HIDDEN} y`);
  });
});

describe('metrics', () => {
  test('are named sluice_…, read when somebody looks, and one by name', async () => {
    const metrics = new Metrics();
    const batches = metrics.counter('batches', 'Batches', ['lane']);
    batches.inc({ lane: 'live' }, 2);
    expect(metrics.counter('batches', 'Batches', ['lane'])).toBe(batches);
    let pending = 5;
    metrics.collect('gauge', 'pending', 'Rows', ['target'], () => [[{ target: 'cloud' }, pending]]);
    metrics.collect('counter', 'commits', 'Commits', [], () => [[{}, 7]]);
    pending = 9;
    const text = await metrics.text();
    expect(text).toContain('sluice_batches_total{lane="live"} 2');
    expect(text).toContain('sluice_pending{target="cloud"} 9');
    expect(text).toContain('sluice_commits_total 7');
    expect(await metrics.text()).toContain('sluice_commits_total 7');
    expect(text).not.toContain('process_');
    expect(await new Metrics(true).text()).toContain('process_cpu_seconds_total');
  });
});

describe('calendar', () => {
  let calendar: ReturnType<typeof startCalendar> | undefined;
  afterEach(() => calendar?.stop());

  /** Runs of a daily job while the clock passes from one moment to another, looked at every minute. */
  function runs(
    at: string,
    from: string,
    hours: number,
    disturb: (clock: ManualClock, minute: number) => void = () => {},
  ) {
    const clock = new ManualClock(Date.parse(from));
    const ran: string[] = [];
    calendar = startCalendar(clock, 'Europe/Berlin');
    calendar.daily(at, (date) => ran.push(`${date} ${new Date(clock.wallMs()).toISOString().slice(11, 16)}Z`));
    for (let minute = 0; minute < hours * 60; minute++) {
      clock.advance(60_000);
      disturb(clock, minute);
    }
    calendar.stop();
    return ran;
  }

  test('runs a daily job once a local day, at its time', () => {
    expect(runs('00:00', '2026-06-01T12:00:00Z', 48)).toEqual(['2026-06-02 22:00Z', '2026-06-03 22:00Z']);
  });

  test('runs it once when the clocks go forward over its time, and once when its time comes twice', () => {
    // 02:00 → 03:00 at 01:00Z on 2026-03-29; 03:00 → 02:00 at 01:00Z on 2026-10-25.
    expect(runs('02:30', '2026-03-28T12:00:00Z', 36)).toEqual(['2026-03-29 01:00Z']);
    expect(runs('02:30', '2026-10-24T12:00:00Z', 36)).toEqual(['2026-10-25 00:30Z']);
  });

  test('does not make up at start for what is past, and does after a suspend', () => {
    expect(runs('02:30', '2026-06-01T12:00:00Z', 2)).toEqual([]);
    expect(runs('02:30', '2026-06-01T12:00:00Z', 2, (clock, minute) => minute === 5 && clock.step(86_400_000))).toEqual(
      ['2026-06-02 12:07Z'],
    );
  });

  test('looks once after a step from 1970 to today, not at each minute between, and goes on after one back', () => {
    const years = 56 * 365 * 86_400_000;
    let looks = 0;
    const clock = new ManualClock(Date.parse('1970-06-01T00:00:00Z'));
    const counted: Clock = {
      wallMs: () => {
        looks++;
        return clock.wallMs();
      },
      monoMs: () => clock.monoMs(),
      synced: () => true,
      after: (delayMs, callback) => clock.after(delayMs, callback),
    };
    calendar = startCalendar(counted, 'Europe/Berlin');
    const ran: string[] = [];
    calendar.daily('02:30', (date) => ran.push(date));
    clock.step(years);
    clock.advance(3 * 60_000);
    clock.step(-years);
    clock.advance(120 * 60_000);
    expect(looks).toBe(1 + 3 + 120);
    expect(ran).toEqual(['1970-06-01']);
  });

  test('runs nothing while the clock is not set, nothing twice when it is set back', () => {
    const unset = runs('02:30', '1970-01-01T00:00:00Z', 30, (clock, minute) => minute === 0 && clock.step(0, false));
    expect(unset).toEqual([]);
    const back = runs('02:30', '2026-06-01T00:00:00Z', 3, (clock, minute) => minute === 60 && clock.step(-3_600_000));
    expect(back).toEqual(['2026-06-01 00:30Z']);
  });

  test("reads the system's own clock face as Intl does, also where clocks change", async () => {
    const built = fileURLToPath(new URL('../../dist/src/runtime/calendar.js', import.meta.url));
    const compare = `import { systemTime, timeIn } from ${JSON.stringify(built)};
      const local = timeIn('America/St_Johns');
      for (let at = Date.UTC(2026, 0, 1), end = Date.UTC(2027, 0, 1); at < end; at += 29 * 60_000) {
        const [own, intl] = [JSON.stringify(systemTime(at)), JSON.stringify(local(at))];
        if (own !== intl) throw new Error(\`\${at}: \${own}, not \${intl}\`);
      }
      console.log('the same');`;
    const env = { ...process.env, TZ: 'America/St_Johns' };
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', compare], { env });
    expect(stdout).toBe('the same\n');
  });

  test('refuses what is no time of day', () => {
    calendar = startCalendar(new ManualClock());
    const daily = (at: string) => () => calendar?.daily(at, () => {});
    expect(daily('25:00')).toThrow(RangeError);
    expect(daily('noon')).toThrow(RangeError);
  });
});

describe('credentials', () => {
  test('are read only from files that nobody else can read', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-credentials-'));
    const file = join(folder, 'device-key');
    writeFileSync(file, 'secret\n');
    chmodSync(file, 0o640);
    expect(() => readSecretFile(file)).toThrow(
      expect.objectContaining({ code: 'credential.exposed', hint: `chmod 600 ${file}` }),
    );
    chmodSync(file, 0o600);
    expect(readSecretFile(file)).toBe('secret');
    expect(readCredential('device-key', { CREDENTIALS_DIRECTORY: folder })).toBe('secret');
    expect(() => readCredential('../device-key', { CREDENTIALS_DIRECTORY: folder })).toThrow(
      expect.objectContaining({ code: 'credential.name' }),
    );
    expect(() => readCredential('device-key', {})).toThrow(expect.objectContaining({ code: 'credential.none' }));
    expect(() => readSecretFile(folder)).toThrow(expect.objectContaining({ code: 'credential.unreadable' }));
    rmSync(folder, { recursive: true });
  });
});
