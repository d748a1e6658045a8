/** Slaves that misbehave, on real sockets: whatever they do, no tag gets a value that is not its own. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { isSluiceError, type SluiceError } from '../../../src/errors.ts';
import { type Clock, systemClock, type Timer } from '../../../src/runtime/clock.ts';
import { type Asked, exception, frame, reply, type Script, ScriptedSlave } from './slave.ts';
import { openModbus, type TestSource } from './source.ts';

const TIMEOUT_MS = 60;
let slave: ScriptedSlave | undefined;
let source: TestSource | undefined;
afterEach(async () => {
  await source?.session.close();
  await slave?.stop();
});

/** Unit 1 has tag `a` at register 10 and `b` at 50 (two requests), unit 2 has `c` at 70. */
const THREE = [
  {
    unit: 1,
    tags: [
      { name: 'a', register: 'holding:10' },
      { name: 'b', register: 'holding:50' },
    ],
  },
  { unit: 2, tags: [{ name: 'c', register: 'holding:70' }] },
];

async function start(
  script: Script,
  settings: object = {},
  clock?: Clock,
): Promise<{ slave: ScriptedSlave; source: TestSource }> {
  slave = await ScriptedSlave.start(script);
  const all = { transport: slave.transport, timeout: `${TIMEOUT_MS}ms`, units: THREE, ...settings };
  source = await openModbus(all, clock);
  return { slave, source };
}

async function view(from: TestSource): Promise<Record<string, unknown>> {
  const { tags } = await from.read();
  return Object.fromEntries([...tags].map(([name, { value, reason }]) => [name, reason === '' ? value : reason]));
}

const GOOD = { a: 10, b: 50, c: 70 };

/** Once: the first request gets the odd treatment, all others an honest answer. */
const first =
  (odd: Script): Script =>
  (asked) =>
    asked.nth === 0 ? odd(asked) : reply(asked);
const spoilt = (asked: Asked, spoil: (bytes: Buffer) => void) => {
  const bytes = reply(asked);
  spoil(bytes);
  return bytes;
};
const wrong: Readonly<Record<string, Script>> = {
  'another unit': (asked) => spoilt(asked, (bytes) => bytes.writeUInt8(9, 6)),
  'another function': (asked) => spoilt(asked, (bytes) => bytes.writeUInt8(4, 7)),
  'a wrong byte count': (asked) => spoilt(asked, (bytes) => bytes.writeUInt8(4, 8)),
  'fewer registers': (asked) => reply({ ...asked, count: 0 }),
  'more registers': (asked) => reply({ ...asked, count: 2 }),
  'no data at all': (asked) => frame(asked, Buffer.of(3)),
};
const broken: Readonly<Record<string, Script>> = {
  'a protocol id that is not 0': (asked) => spoilt(asked, (bytes) => bytes.writeUInt16BE(7, 2)),
  'a length of 0': (asked) => spoilt(asked, (bytes) => bytes.writeUInt16BE(0, 4)),
  'a length of 65535': (asked) => spoilt(asked, (bytes) => bytes.writeUInt16BE(65_535, 4)),
  'a banner': () => Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'),
};

async function lostBy(from: TestSource): Promise<SluiceError> {
  const thrown = await from.session.closed.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!isSluiceError(thrown)) throw new Error('the session did not end with an error of ours');
  return thrown;
}

describe('a reply', () => {
  test.each(Object.entries(wrong))('with %s is asked for once more, and never used', async (_, odd) => {
    const { source, slave } = await start(first(odd));
    expect(await view(source)).toEqual(GOOD);
    expect(slave.asked.length).toBe(4);
  });

  test.each(Object.entries(wrong))('with %s, always, makes its own tags bad while the others go on', async (_, odd) => {
    const { source } = await start((asked) => (asked.address === 10 ? odd(asked) : reply(asked)));
    for (let round = 0; round < 4; round++) {
      const { tags, faults } = await source.read();
      expect(tags.get('a')).toMatchObject({ quality: 'bad', reason: 'comm_error', value: null });
      expect([tags.get('b')?.value, tags.get('c')?.value]).toEqual([50, 70]);
      // The unit answers other requests, so it is not down.
      expect(faults).toEqual([{ group: 0, error: expect.objectContaining({ code: 'modbus.reply' }), unitDown: false }]);
    }
  });

  test.each(Object.entries(wrong))(
    'with %s to everything ends the connection: the peer is out of step',
    async (_, odd) => {
      const { source } = await start(odd);
      await expect(source.read()).rejects.toMatchObject({ code: 'modbus.reply', recovery: 'retry' });
      expect((await lostBy(source)).code).toBe('modbus.reply');
    },
  );

  test.each(Object.entries(broken))('with %s ends the connection at once', async (_, odd) => {
    const { source } = await start(first(odd));
    await expect(source.read()).rejects.toMatchObject({ code: 'modbus.protocol', recovery: 'retry' });
    expect((await lostBy(source)).code).toBe('modbus.protocol');
    await expect(source.read()).rejects.toMatchObject({ code: 'modbus.protocol' });
  });

  test('that comes after its time-out is dropped and counted, and never the answer to another request', async () => {
    const late: Buffer[] = [];
    const { source } = await start((asked) => {
      if (asked.nth === 0) {
        late.push(reply(asked, () => 0xdead));
        return undefined;
      }
      return Buffer.concat([...late.splice(0), reply(asked)]);
    });
    expect(await view(source)).toEqual(GOOD);
    expect((source.session as unknown as { strays: number }).strays).toBe(1);
  });

  test('with a transaction that was never asked for is dropped', async () => {
    const { source } = await start((asked) =>
      Buffer.concat([reply({ ...asked, transaction: (asked.transaction + 1) & 0xffff }, () => 0xdead), reply(asked)]),
    );
    expect(await view(source)).toEqual(GOOD);
    expect(await view(source)).toEqual(GOOD);
  });

  test('that is repeated counts once', async () => {
    const { source } = await start((asked) => Buffer.concat([reply(asked), reply(asked, () => 0xdead), reply(asked)]));
    for (let round = 0; round < 5; round++) expect(await view(source)).toEqual(GOOD);
  });

  test('always with a wrong transaction is no answer, and ends in a new connection', async () => {
    const { source } = await start((asked) => reply({ ...asked, transaction: asked.transaction ^ 0x8000 }), {
      retries: 0,
    });
    for (let round = 0; round < 3; round++) {
      const { faults } = await source.read();
      expect(faults.map(({ unitDown }) => unitDown)).toEqual([true, true]);
    }
    expect((await lostBy(source)).code).toBe('modbus.silent');
  });

  test('may come one byte at a time', async () => {
    const { source } = await start((asked) => {
      for (const byte of reply(asked)) asked.socket.write(Buffer.of(byte));
      return undefined;
    });
    expect(await view(source)).toEqual(GOOD);
  });

  test('may come together with others, in any order', async () => {
    const held: Asked[] = [];
    const { source } = await start(
      (asked) => {
        held.push(asked);
        return held.length === 3
          ? Buffer.concat(
              held
                .splice(0)
                .reverse()
                .map((one) => reply(one)),
            )
          : undefined;
      },
      { window: 3 },
    );
    for (let round = 0; round < 5; round++) expect(await view(source)).toEqual(GOOD);
  });

  test('that is cut short by the end of the connection is a lost connection', async () => {
    const { source } = await start((asked) => {
      asked.socket.end(reply(asked).subarray(0, 9));
      return undefined;
    });
    await expect(source.read()).rejects.toMatchObject({ code: 'modbus.connection' });
  });
});

describe('a connection', () => {
  test('that is reset fails the pending read at once', async () => {
    const { source } = await start(
      (asked) => {
        asked.socket.resetAndDestroy();
        return undefined;
      },
      { timeout: '30s' },
    );
    await expect(source.read()).rejects.toMatchObject({
      code: 'modbus.connection',
      message: expect.stringMatching(/ECONNRESET/),
    });
    expect((await lostBy(source)).code).toBe('modbus.connection');
  });

  test('that is half-open is given up after three reads without an answer', async () => {
    const { source } = await start(() => undefined, { retries: 0, timeout: '10ms' });
    for (let round = 0; round < 3; round++) await source.read();
    expect(await lostBy(source)).toMatchObject({ code: 'modbus.silent', recovery: 'retry' });
  });

  test('with one silent unit among answering ones is kept', async () => {
    const { source } = await start((asked) => (asked.unit === 2 ? undefined : reply(asked)), {
      retries: 0,
      timeout: '10ms',
    });
    for (let round = 0; round < 6; round++) expect(await view(source)).toEqual({ ...GOOD, c: 'comm_error' });
  });
});

test('a connect that is not answered in time fails, and leaves nothing behind', async () => {
  const hasty: Clock = {
    wallMs: () => systemClock.wallMs(),
    monoMs: () => systemClock.monoMs(),
    synced: () => true,
    after(_, callback) {
      callback();
      return { cancel: () => {} };
    },
  };
  await expect(start((asked) => reply(asked), { connectTimeout: '250ms' }, hasty)).rejects.toMatchObject({
    code: 'modbus.connect',
    recovery: 'retry',
    message: expect.stringMatching(/no answer in 250 ms/),
  });
  expect(slave?.sockets.size).toBe(0);
});

describe('a silent unit', () => {
  const five = [1, 2, 3].map((unit) => ({
    unit,
    tags: Array.from({ length: 5 }, (_, i) => ({ name: `u${unit}r${i}`, register: `holding:${i * 50}` })),
  }));
  const dead: Script = (asked) => (asked.unit === 1 ? undefined : reply(asked));

  test.each([1, 4, 16])(
    'costs one time-out and its retry a read, all its blocks together (window %d)',
    async (window) => {
      const { source, slave } = await start(dead, { units: five, window });
      for (let round = 0; round < 3; round++) {
        const startMs = performance.now();
        const { tags, faults } = await source.read();
        const tookMs = performance.now() - startMs;
        expect(tookMs).toBeGreaterThan(TIMEOUT_MS * 2 - 5);
        expect(tookMs).toBeLessThan(TIMEOUT_MS * 3);
        expect(faults).toEqual([
          { group: 0, error: expect.objectContaining({ code: 'modbus.timeout' }), unitDown: true },
        ]);
        expect(tags.size).toBe(15);
        for (const [name, { reason }] of tags) expect(reason).toBe(name.startsWith('u1') ? 'comm_error' : '');
      }
      // Once it is known to be silent it is asked one block at a time.
      const later = slave.asked.filter(({ unit }) => unit === 1).length;
      expect(later).toBeLessThanOrEqual(2 * Math.min(5, window) + 2 * 2 + 1);
    },
  );

  test('is asked last, so that the others are as fresh as if it were not there', async () => {
    const { source } = await start(dead, { units: five });
    await source.read();
    const startMs = systemClock.wallMs();
    const { tags } = await source.read();
    for (const [name, { timeMs }] of tags)
      if (!name.startsWith('u1')) expect(timeMs - startMs).toBeLessThan(TIMEOUT_MS);
  });

  test('is read again as soon as it answers', async () => {
    const { source, slave } = await start(dead, { units: five, window: 4 });
    await source.read();
    slave.script = (asked) => reply(asked);
    const { tags, faults } = await source.read();
    expect(faults).toEqual([]);
    expect([...tags.values()].every(({ quality }) => quality === 'good')).toBe(true);
  });

  test('that ignores one block only is not down: its other blocks are read first from the next time on', async () => {
    const { source } = await start((asked) => (asked.unit === 1 && asked.address === 0 ? undefined : reply(asked)), {
      units: five,
    });
    const before = await source.read();
    expect(before.faults[0]?.unitDown).toBe(true);
    for (let round = 0; round < 3; round++) {
      const { tags, faults } = await source.read();
      expect(faults).toEqual([
        { group: 0, error: expect.objectContaining({ code: 'modbus.timeout' }), unitDown: false },
      ]);
      expect([...tags].filter(([, { quality }]) => quality === 'bad').map(([name]) => name)).toEqual(['u1r0']);
    }
  });

  test('is given its time by the clock that was passed in', async () => {
    const clock = new FastClock();
    const { source } = await start(() => undefined, { timeout: '1h', retries: 0 }, clock);
    const { faults } = await source.read();
    expect(faults.map(({ error }) => error.code)).toEqual(['modbus.timeout', 'modbus.timeout']);
  });

  test('waits between requests when it is told to', async () => {
    const sentMs: number[] = [];
    const { source } = await start(
      (asked) => {
        sentMs.push(performance.now());
        return reply(asked);
      },
      { requestDelay: '20ms', window: 4 },
    );
    expect(await view(source)).toEqual(GOOD);
    expect(await view(source)).toEqual(GOOD);
    for (let i = 1; i < sentMs.length; i++) expect((sentMs[i] ?? 0) - (sentMs[i - 1] ?? 0)).toBeGreaterThan(17);
  });
});

describe('an exception', () => {
  test.each([1, 4, 7, 8, 9, 42])('%d makes the block bad and the unit lives', async (code) => {
    const { source } = await start((asked) => (asked.unit === 2 ? exception(asked, code) : reply(asked)));
    const { tags, faults } = await source.read();
    expect(tags.get('c')).toMatchObject({ quality: 'bad', reason: 'device_exception', value: null });
    expect(faults).toEqual([
      { group: 1, unitDown: false, error: expect.objectContaining({ code: 'modbus.exception' }) },
    ]);
    expect(faults[0]?.error.facts).toMatchObject({ code, unit: 2 });
    expect([tags.get('a')?.value, tags.get('b')?.value]).toEqual([10, 50]);
  });

  test.each([10, 11])('%d of a gateway means that the unit behind it is down', async (code) => {
    const { source, slave } = await start((asked) => (asked.unit === 1 ? exception(asked, code) : reply(asked)));
    const { tags, faults } = await source.read();
    expect(tags.get('a')?.reason).toBe('comm_error');
    expect(tags.get('b')?.reason).toBe('comm_error');
    expect(tags.get('c')?.value).toBe(70);
    expect(faults).toEqual([
      { group: 0, unitDown: true, error: expect.objectContaining({ code: 'modbus.exception' }) },
    ]);
    // The gateway has waited already: no retry, and the unit's other block is not asked.
    expect(slave.asked.length).toBe(2);
  });

  test.each([5, 6])('%d leaves the block alone for a second, the others go on', async (code) => {
    const { source, slave } = await start((asked) => (asked.address === 10 ? exception(asked, code) : reply(asked)));
    for (let round = 0; round < 5; round++) expect(await view(source)).toEqual({ ...GOOD, a: 'device_exception' });
    expect(slave.asked.filter(({ address }) => address === 10).length).toBe(1);
  });
});

describe('a register that the device does not have', () => {
  const hundred = (every = 1) => [
    { unit: 1, tags: Array.from({ length: 100 }, (_, i) => ({ name: `r${i}`, register: `holding:${i * every}` })) },
  ];
  const without =
    (missing: readonly number[], code = 2): Script =>
    (asked) =>
      missing.some((register) => register >= asked.address && register < asked.address + asked.count)
        ? exception(asked, code)
        : reply(asked);

  test.each([2, 3])(
    'is found by halving in the same read, named, and read around from the next on (exception %d)',
    async (code) => {
      const { source, slave } = await start(without([37, 38, 80], code), { units: hundred() });
      for (let round = 0; round < 3; round++) {
        const { tags, faults } = await source.read();
        expect(tags.size).toBe(100);
        for (const [name, { value, reason }] of tags) {
          const at = Number(name.slice(1));
          const isMissing = [37, 38, 80].includes(at);
          expect([name, value, reason]).toEqual([name, isMissing ? null : at, isMissing ? 'device_exception' : '']);
        }
        expect(faults.length).toBe(1);
        expect(faults[0]?.unitDown).toBe(false);
        if (round > 0) expect(faults[0]?.error.message).toMatch(/refuses r37, r38, r80/);
      }
      // The first read searches; then there are three reads: 0–36, 39–79, 81–99.
      expect(slave.asked.slice(-6).map(({ address, count }) => [address, count])).toEqual([
        [0, 37],
        [39, 41],
        [81, 19],
        [0, 37],
        [39, 41],
        [81, 19],
      ]);
    },
  );

  test('between two tags costs one more request, and no tag', async () => {
    const { source, slave } = await start(without([11]), { units: hundred(2) });
    for (let round = 0; round < 2; round++) {
      const { tags, faults } = await source.read();
      expect(faults).toEqual([]);
      expect(tags.size).toBe(100);
      expect([...tags.values()].every(({ quality }) => quality === 'good')).toBe(true);
    }
    // 199 registers take two reads, the hole at 11 one more.
    expect(slave.asked.slice(-3).map(({ address, count }) => [address, count])).toEqual([
      [0, 11],
      [12, 125],
      [138, 61],
    ]);
  });

  test('is one of too many at once: the device takes at most 30', async () => {
    const { source, slave } = await start((asked) => (asked.count > 30 ? exception(asked, 3) : reply(asked)), {
      units: hundred(),
    });
    const before = await source.read();
    expect(before.faults).toEqual([]);
    expect([...before.tags.values()].every(({ quality }) => quality === 'good')).toBe(true);
    slave.asked.length = 0;
    expect((await source.read()).faults).toEqual([]);
    expect(slave.asked.length).toBeLessThanOrEqual(5);
  });

  test('is tried again after ten minutes', async () => {
    const clock = new FastClock();
    const { source, slave } = await start(without([10]), {}, clock);
    expect(await view(source)).toEqual({ ...GOOD, a: 'device_exception' });
    slave.script = (asked) => reply(asked);
    clock.skip(599_000);
    expect(await view(source)).toEqual({ ...GOOD, a: 'device_exception' });
    clock.skip(2_000);
    expect(await view(source)).toEqual(GOOD);
  });
});

test('all tags of one reply have the time at which it came', async () => {
  const units = [{ unit: 1, tags: [0, 1, 2, 60].map((at) => ({ name: `r${at}`, register: `input:${at}` })) }];
  const { source } = await start(
    (asked) => {
      setTimeout(() => asked.socket.write(reply(asked)), 10);
      return undefined;
    },
    { units },
  );
  const startMs = systemClock.wallMs();
  const { tags } = await source.read();
  const times = [...tags.values()].map(({ timeMs }) => timeMs);
  expect(new Set(times.slice(0, 3)).size).toBe(1);
  expect(times[0]).toBeGreaterThanOrEqual(startMs + 8);
  expect(times[3]).toBeGreaterThanOrEqual((times[0] ?? 0) + 8);
});

test('an aborted read leaves a session that reads on, and its late replies touch nothing', async () => {
  const held: Asked[] = [];
  const { source, slave } = await start((asked) => {
    held.push(asked);
    return undefined;
  });
  const abort = new AbortController();
  const pending = source.read(undefined, abort.signal);
  while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
  abort.abort(new Error('overdue'));
  await expect(pending).rejects.toThrow('overdue');
  slave.script = (asked) => Buffer.concat([...held.splice(0).map((one) => reply(one, () => 0xdead)), reply(asked)]);
  expect(await view(source)).toEqual(GOOD);
});

/** The system's clock, but timers of a second and more fire at once, and monotonic time can be moved. */
class FastClock implements Clock {
  #skippedMs = 0;
  wallMs = () => systemClock.wallMs();
  monoMs = () => systemClock.monoMs() + this.#skippedMs;
  synced = () => true;
  after(delayMs: number, callback: () => void): Timer {
    if (delayMs < 1000) return systemClock.after(delayMs, callback);
    return systemClock.after(5, () => {
      this.skip(delayMs);
      callback();
    });
  }
  skip(byMs: number): void {
    this.#skippedMs += byMs;
  }
}
