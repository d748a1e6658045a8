import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { PacketLimiter, readFrame, writeFrame } from '../../drivers/mqtt/frames.ts';
import { compilePath, valueAt } from '../../drivers/mqtt/path.ts';
import { schema } from '../../drivers/mqtt/schema.ts';
import { toTimeMs } from '../../drivers/mqtt/time.ts';
import { fillTemplate, matchTopic } from '../../drivers/mqtt/topic.ts';
import { Refusal, toSlot } from '../../drivers/mqtt/value.ts';
import type { ListenSession } from '../../src/driver.ts';
import { Quality } from '../../src/reading.ts';
import { HandSink, openMqtt } from './mqtt-source.ts';
import { type Message, publishPacket, WireBroker } from './wire-broker.ts';

let broker: WireBroker;
let sessions: ListenSession[];
beforeEach(async () => {
  broker = await WireBroker.start();
  sessions = [];
});
afterEach(async () => {
  await Promise.all(sessions.map((session) => session.close()));
  await broker.stop();
});

/** What becomes of these messages; a last good one shows that the source lived through them. */
async function hear(
  topics: unknown[],
  messages: Omit<Message, 'id'>[],
  more: Record<string, unknown> = {},
): Promise<HandSink> {
  const sink = new HandSink();
  const all = [...topics, { filter: 'end', tag: 'end', payload: 'number' }];
  sessions.push(await openMqtt({ url: broker.url, topics: all, ...more }, sink));
  for (const [at, message] of messages.entries()) broker.publish({ qos: 1, ...message, id: at + 1 });
  broker.publish({ topic: 'end', payload: '1' });
  await sink.until(() => sink.rows.at(-1)?.tag === 'end');
  await broker.until(() => broker.acked().length === messages.filter((message) => message.qos !== 0).length);
  sink.rows.pop();
  return sink;
}

const climate = { filter: 'sensors/+/climate', tag: '{1}/{field}', fields: { t: '$.t', h: '$.h' }, time: '$.ts' };
const message = (payload: string | Buffer, topic = 'sensors/01/climate') => ({ topic, payload });

describe('mqtt payloads', () => {
  test('reads fields with the time of the device, with their type and unit', async () => {
    const fields = {
      t: { path: '$.t', unit: '°C', min: -40 },
      energy: { path: "$.meter['total Wh']", type: 'uint64' },
    };
    const sink = await hear(
      [{ ...climate, fields, location: 'hall 3' }],
      [message('{"t":21.5,"meter":{"total Wh":"18446744073709551615"},"ts":1769853600123}')],
    );
    expect(sink.rows).toEqual([
      { tag: '01/t', timeMs: 1769853600123, value: 21.5, quality: Quality.good },
      { tag: '01/energy', timeMs: 1769853600123, value: 2n ** 64n - 1n, quality: Quality.good },
    ]);
    expect(sink.tags[0]).toMatchObject({
      about: { type: 'float64', unit: '°C', location: 'hall 3' },
      fields: { min: -40 },
    });
    expect(sink.tags[1]?.about).toEqual({ type: 'uint64', location: 'hall 3' });
  });

  test('reads a hundred readings of one message, of elements or numbers', async () => {
    const readings = Array.from({ length: 100 }, (_, at) => ({ n: `s${at % 4}`, v: at, t: 1769853600 + at }));
    const sink = await hear(
      [
        { filter: 'pack', tag: 'pack/{name}', each: '$.e', name: '@.n', value: '@.v', time: '@.t' },
        { filter: 'wave', tag: 'wave', each: '$.samples', value: '@', time: '$.start', step: '0.5ms' },
      ],
      [message(JSON.stringify({ e: readings }), 'pack'), message('{"start":1769853600000,"samples":[1,2,3]}', 'wave')],
    );
    expect(sink.rows).toHaveLength(103);
    expect(sink.rows[99]).toEqual({ tag: 'pack/s3', timeMs: 1769853699000, value: 99, quality: 0 });
    expect(sink.rows.slice(100).map((row) => row.timeMs - 1769853600000)).toEqual([0, 0.5, 1]);
  });

  test('reads plain numbers, switches and texts', async () => {
    const topics = [
      { filter: 'n/+', tag: 'n{1}', payload: 'number' },
      { filter: 'b/+', tag: 'b{1}', payload: 'bool' },
      { filter: 's/#', tag: 's/{1}', payload: 'text' },
    ];
    const sink = await hear(topics, [
      message(' -1.5e3\n', 'n/1'),
      message('0x10', 'n/1'),
      message('', 'n/1'),
      message('ON', 'b/1'),
      message('maybe', 'b/1'),
      message('läuft', 's/a/b'),
      message(Buffer.from([0xff, 0xfe]), 's/a/b'),
    ]);
    expect(sink.rows.map((row) => [row.tag, row.value])).toEqual([
      ['n1', -1500],
      ['b1', true],
      ['s/a/b', 'läuft'],
    ]);
    expect(sink.rejected.map((reject) => reject.reason)).toEqual([
      'not a finite number: "0x10"',
      'not a finite number: ""',
      'not a bool: "maybe"',
      'not UTF-8',
    ]);
  });

  test('keeps a null as a reading that is not available, and skips a field that is not there', async () => {
    const sink = await hear([climate], [message('{"t":null}')]);
    expect(sink.rows.map((row) => [row.tag, row.value, row.quality])).toEqual([['01/t', null, Quality.notAvailable]]);
    expect(sink.rejected).toEqual([]);
  });

  const hostile: [string, string | Buffer, string][] = [
    ['JSON 10,000 deep', '['.repeat(10_000) + ']'.repeat(10_000), 'JSON nested deeper than 32'],
    ['deep JSON inside a field', `{"t":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`, 'JSON nested deeper than 32'],
    ['a key __proto__', '{"__proto__":{"t":1},"t":2}', 'JSON with a key __proto__'],
    ['1e999', '{"t":1e999}', 't: not a finite number: Infinity'],
    ['NaN', '{"t":NaN}', 'not JSON'],
    ['a text where a number belongs', '{"t":"21.5"}', 't: not a finite number: "21.5"'],
    ['a list where a number belongs', '{"t":[1]}', 't: not a finite number: an array'],
    ['a property of every object', '{"toString":1}', 'nothing at $.t, $.h'],
    ['no object at all', '5', 'nothing at $.t, $.h'],
    ['nothing', '', 'not JSON'],
    ['bytes that are no text', Buffer.from([0x7b, 0xff, 0x7d]), 'not UTF-8'],
    ['a time that is none', '{"t":1,"ts":"yesterday"}', 'no time at $.ts'],
    ['a time without a zone', '{"t":1,"ts":"2026-01-31T10:00:00"}', 'no time at $.ts'],
    ['a time before the epoch', '{"t":1,"ts":-5}', 'no time at $.ts'],
  ];
  test.each(hostile)('keeps as a dead letter: %s', async (_, payload, reason) => {
    const sink = await hear([climate], [message(payload)]);
    expect(sink.rejected.map((reject) => reject.reason)).toEqual([reason]);
    expect(sink.rows).toEqual([]);
  });

  test('keeps the good field of a message whose other field is wrong', async () => {
    const sink = await hear([climate], [message('{"t":1,"h":"wet"}')]);
    expect(sink.rows.map((row) => row.tag)).toEqual(['01/t']);
    expect(sink.rejected.map((reject) => reject.reason)).toEqual(['h: not a finite number: "wet"']);
  });

  test('takes no name for a tag that a tag cannot have, and binds quotes as data', async () => {
    const topics = [{ filter: 'x/#', tag: '{1}', payload: 'number' }];
    const bad = [
      'x/$SYS',
      'x/a\u0001b',
      'x/a\\b',
      "x/a'; DROP TABLE tags;--",
      'x/',
      `x/${'l/'.repeat(150)}l`,
      `x/${'n'.repeat(200)}`,
    ];
    const sink = await hear(topics, [...bad.map((topic) => message('1', topic)), message('1', 'x/good name/ü')]);
    expect(sink.rejected.map((reject) => reject.subject)).toEqual(bad);
    expect(sink.rows.map((row) => row.tag)).toEqual(['good name/ü']);
  });

  test('keeps a topic that no filter asked for as a dead letter', async () => {
    const sink = await hear([climate], [message('1', 'left/over')]);
    expect(sink.rejected.map((reject) => reject.reason)).toEqual(['the topic matches no filter of this source']);
  });

  test('cuts an oversize payload short, keeps it as a dead letter, and reads on', async () => {
    const sink = await hear([climate], [message(`{"t":"${'x'.repeat(3_000_000)}"}`), message('{"t":1}')], {
      payloadMax: '1kB',
    });
    expect(sink.rejected.map((reject) => reject.reason)).toEqual(['a payload over 1000 bytes']);
    expect(sink.rejected[0]?.bytes).toBeLessThan(70_000);
    expect(sink.rows.map((row) => row.value)).toEqual([1]);
  });

  test('loses the connection, not the process, to a broker that sends garbage', async () => {
    const sink = new HandSink();
    const session = await openMqtt({ url: broker.url, topics: [climate] }, sink);
    sessions.push(session);
    broker.send(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0xff]));
    const thrown: unknown = await session.closed.catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: 'mqtt.malformed', recovery: 'retry' });
  });

  test('registers no tag beyond what the registry takes', async () => {
    const sink = new HandSink();
    sink.tagsMax = 1;
    sessions.push(await openMqtt({ url: broker.url, topics: [climate] }, sink));
    for (const at of [1, 2, 3]) broker.publish({ ...message('{"t":1}', `sensors/${at}/climate`), qos: 1, id: at });
    await broker.until(() => broker.acked().length === 3);
    expect(sink.rows.map((row) => row.tag)).toEqual(['1/t']);
  });
});

describe('mqtt retained messages', () => {
  const retained = (payload: string) => ({ ...message(payload), retain: true });
  test('are used when they have their own time and the broker kept no session of ours', async () => {
    const sink = await hear([climate], [retained('{"t":1,"ts":1769853600}'), retained('{"t":2}')]);
    expect(sink.rows.map((row) => row.value)).toEqual([1]);
    expect(sink.rejected).toEqual([]);
  });
  test('are old news when our session was kept', async () => {
    broker.sessionPresent = true;
    const sink = await hear([climate], [retained('{"t":1,"ts":1769853600}')]);
    expect(sink.rows).toEqual([]);
  });
  test('are used always or never where the settings say so', async () => {
    broker.sessionPresent = true;
    const topics = [
      { filter: 'a', tag: 'a', payload: 'number', retained: 'use' },
      { filter: 'b', tag: 'b', payload: 'number', retained: 'ignore' },
    ];
    const sink = await hear(topics, [
      { ...message('1', 'a'), retain: true },
      { ...message('1', 'b'), retain: true },
    ]);
    expect(sink.rows.map((row) => row.tag)).toEqual(['a']);
  });
});

describe('mqtt parts', () => {
  test('refuses contradicting settings with their reason', () => {
    const fault = (rule: object) => {
      const parsed = schema.safeParse({ url: 'mqtt://h', topics: [{ filter: 'a/+', tag: 'x', value: '$', ...rule }] });
      return parsed.success ? undefined : parsed.error.issues[0]?.message;
    };
    expect(fault({})).toBeUndefined();
    expect(fault({ filter: 'a/b#' })).toBe('# must be the whole last level');
    expect(fault({ filter: 'a+/b' })).toBe('+ must be a whole level');
    expect(fault({ tag: '{2}' })).toContain('the filter has 1');
    expect(fault({ tag: '{who}' })).toContain('is no placeholder');
    expect(fault({ tag: '{field}' })).toContain('go together');
    expect(fault({ value: undefined })).toContain('either fields or value');
    expect(fault({ value: '@.x' })).toContain('without each use $');
    expect(fault({ value: '$.__proto__.x' })).toContain('expected a path');
    expect(fault({ value: '$..x' })).toContain('expected a path');
    expect(fault({ payload: 'number' })).toBe('value needs payload: json');
    expect(fault({ payload: 'text', value: undefined, type: 'int16' })).toContain('does not go into type int16');
    expect(schema.safeParse({ url: 'mqtt://user:pw@h', topics: [] }).success).toBe(false);
  });

  test('matches filters as the standard does', () => {
    const match = (filter: string, topic: string) => matchTopic(filter.split('/'), topic);
    expect(match('sport/tennis/#', 'sport/tennis')).toEqual(['']);
    expect(match('sport/+/player', 'sport//player')).toEqual(['']);
    expect(match('+/+', '/finance')).toEqual(['', 'finance']);
    expect(match('+', '/finance')).toBeUndefined();
    expect(match('#', '$SYS/x')).toBeUndefined();
    expect(match('$SYS/#', '$SYS/x')).toEqual(['x']);
    expect(match('a/+/c/#', 'a/b/c/d/e')).toEqual(['b', 'd/e']);
  });

  test('fills a template from topic words only once: what a topic says is never a placeholder', () => {
    const words = { topic: 't', captures: ['{field}', 'b'], field: 'f', name: 'n' };
    expect(fillTemplate('{1}/{2}/{field}-{name}', words)).toBe('{field}/b/f-n');
  });

  test('finds own properties and elements only', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (json, key) => {
        const path = compilePath(`$['${key}'].x[0]`);
        if (path !== undefined) valueAt(path, JSON.parse(JSON.stringify(json)), undefined);
      }),
    );
    const path = compilePath('$.a[1]');
    if (path === undefined) throw new Error('it is a path');
    expect(valueAt(path, { a: [1, 2] }, undefined)).toBe(2);
    expect(valueAt(path, { a: { 1: 2 } }, undefined)).toBeUndefined();
  });

  test('takes for each type exactly the values it can hold', () => {
    const numbers = ['int16', 'uint16', 'int32', 'uint32'] as const;
    fc.assert(
      fc.property(fc.anything(), fc.constantFrom(...numbers), (value, type) => {
        const slot = toSlot(value, type);
        expect(slot instanceof Refusal || Number.isInteger(slot)).toBe(true);
      }),
    );
    expect(toSlot(65_536, 'uint16')).toBeInstanceOf(Refusal);
    expect(toSlot(1e39, 'float32')).toBeInstanceOf(Refusal);
    expect(toSlot(0.1, 'float32')).toBe(Math.fround(0.1));
    expect(toSlot('-9223372036854775808', 'int64')).toBe(-(2n ** 63n));
    expect(toSlot('9223372036854775808', 'int64')).toBeInstanceOf(Refusal);
    expect(toSlot(2 ** 60, 'int64')).toBeInstanceOf(Refusal);
    expect(toSlot('x'.repeat(60_001), 'text')).toBeInstanceOf(Refusal);
  });

  test('knows a time by its size, and ISO times with a zone', () => {
    for (const time of [1769853600.5, 1769853600500, 1769853600500000, 1769853600500000000]) {
      expect(toTimeMs(time)).toBeCloseTo(1769853600500, 0);
    }
    expect(toTimeMs('2026-01-31T10:00:00.1234567+01:00')).toBeCloseTo(Date.UTC(2026, 0, 31, 9) + 123.4567, 3);
    expect(toTimeMs('2026-01-31T10:00:00Z')).toBe(Date.UTC(2026, 0, 31, 10));
    expect(toTimeMs('2026-13-31T10:00:00Z')).toBeUndefined();
    expect(toTimeMs(Number.POSITIVE_INFINITY)).toBeUndefined();
  });

  test('passes packets on unchanged however they are cut, and shortens only what is too long', () => {
    const packet = fc
      .integer({ min: 0, max: 300 })
      .map((size) => publishPacket({ topic: 't', payload: 'p'.repeat(size) }));
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 20 }), fc.integer({ min: 1, max: 50 }), (packets, step) => {
        const limiter = new PacketLimiter(100);
        const input = Buffer.concat(packets);
        const out: Buffer[] = [];
        for (let at = 0; at < input.length; at += step) out.push(...limiter.feed(input.subarray(at, at + step)));
        const expected = packets.map((bytes) => {
          const frame = readFrame(bytes, 0);
          if (frame === undefined || frame.bodyBytes <= 100) return bytes;
          return Buffer.concat([writeFrame(0x30, 100), bytes.subarray(frame.headerBytes, frame.headerBytes + 100)]);
        });
        expect(Buffer.concat(out)).toEqual(Buffer.concat(expected));
      }),
    );
  });
});
