import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ListenSession } from '../../src/driver.ts';
import { codeOf } from '../../src/errors.ts';
import { ManualClock } from '../../src/runtime/clock.ts';
import { HandSink, KeptReceipts, openMqtt } from './mqtt-source.ts';
import { CONNECT, PINGREQ, publishPacket, SUBSCRIBE, WireBroker } from './wire-broker.ts';

const topics = [{ filter: 'sensors/+/climate', tag: '{1}/{field}', fields: { temperature: '$.t' } }];

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

async function open(sink: HandSink, more: Record<string, unknown> = {}, clock?: ManualClock): Promise<ListenSession> {
  const session = await openMqtt({ url: broker.url, topics, ...more }, sink, clock);
  sessions.push(session);
  return session;
}

const reading = (id: number, more: object = {}) => ({
  topic: 'sensors/01/climate',
  payload: JSON.stringify({ t: id }),
  qos: 1 as const,
  id,
  ...more,
});
const ids = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

describe('mqtt acknowledgements', () => {
  test('sends no PUBACK before the message is durable, and then at once, in order', async () => {
    const sink = new HandSink();
    sink.fastDisk = false;
    await open(sink);
    for (const id of ids(1, 3)) broker.publish(reading(id));
    await sink.until(() => sink.rows.length === 3);
    // Whatever was to be sent without the disk has been sent when a later message is through.
    broker.publish({ topic: 'sensors/01/climate', payload: '{"t":4}' });
    await sink.until(() => sink.rows.length === 4);
    expect(broker.acked()).toEqual([]);
    sink.commit();
    await broker.until(() => broker.acked().length === 3);
    expect(broker.acked()).toEqual([1, 2, 3]);
  });

  test('asks for no commit for messages of QoS 0', async () => {
    const sink = new HandSink();
    sink.fastDisk = false;
    await open(sink);
    broker.publish({ topic: 'sensors/01/climate', payload: '{"t":1}' });
    await sink.until(() => sink.rows.length === 1);
    expect(sink.waiting).toBe(0);
  });

  test('holds 5000 acknowledgements while messages flow and keep-alives pass', async () => {
    const sink = new HandSink();
    sink.fastDisk = false;
    const session = await open(sink, { keepAlive: '1s' });
    let lost = false;
    session.closed.catch(() => {
      lost = true;
    });
    broker.send(Buffer.concat(ids(1, 5000).map((id) => publishPacket(reading(id)))));
    await sink.until(() => sink.rows.length === 5000);
    const pings = broker.ofType(PINGREQ).length;
    await broker.until(() => broker.ofType(PINGREQ).length >= pings + 1);
    expect(broker.acked()).toEqual([]);
    broker.publish(reading(5001));
    await sink.until(() => sink.rows.length === 5001);
    expect(lost).toBe(false);
    sink.commit();
    await broker.until(() => broker.acked().length === 5001);
    expect(broker.acked()).toEqual(ids(1, 5001));
  });

  test('stops reading when the receive window is full, and goes on after a commit', async () => {
    const sink = new HandSink();
    sink.fastDisk = false;
    await open(sink, { receiveWindow: 10 });
    // Several reads' worth: one read may overshoot.
    const payload = JSON.stringify({ t: 1, fill: 'x'.repeat(20_000) });
    for (const id of ids(1, 200)) broker.publish({ ...reading(id), payload });
    await sink.until(() => sink.rows.length >= 10);
    await new Promise((resolve) => setImmediate(resolve));
    const before = sink.rows.length;
    expect(before).toBeLessThan(100);
    while (broker.acked().length < 200) {
      const acked = broker.acked().length;
      sink.commit();
      await broker.until(() => broker.acked().length > acked);
      await sink.until(() => sink.waiting > 0 || sink.rows.length === 200);
    }
    expect(broker.acked()).toEqual(ids(1, 200));
    expect(sink.rows.length).toBe(200);
  });

  test.each([
    ['before', 0],
    ['after', 1],
  ])('stays connected through keep-alives when the receive window fills %s a ping', async (_, pings) => {
    const sink = new HandSink();
    sink.fastDisk = false;
    const session = await open(sink, { receiveWindow: 10, keepAlive: '1s' });
    let lost = false;
    session.closed.catch(() => {
      lost = true;
    });
    const payload = JSON.stringify({ t: 1, fill: 'x'.repeat(20_000) });
    // The answer to a ping comes behind messages that are not read.
    broker.silent = true;
    await broker.until(() => broker.ofType(PINGREQ).length === pings);
    for (const id of ids(1, 200)) broker.publish({ ...reading(id), payload });
    for (let answer = 0; answer < pings; answer++) broker.send(Buffer.from([0xd0, 0]));
    broker.silent = false;
    await broker.until(() => broker.ofType(PINGREQ).length >= 4 || broker.connections === 0);
    expect(lost).toBe(false);
    expect(sink.rows.length).toBeLessThan(100);
    while (broker.acked().length < 200) {
      const acked = broker.acked().length;
      sink.commit();
      await broker.until(() => broker.acked().length > acked);
      await sink.until(() => sink.waiting > 0 || sink.rows.length === 200);
    }
    expect(broker.acked()).toEqual(ids(1, 200));
  });

  test('still notices a broker that answers no ping', async () => {
    const session = await open(new HandSink(), { keepAlive: '1s' });
    broker.silent = true;
    expect(codeOf(await session.closed.catch((error: unknown) => error))).toBe('mqtt.lost');
  });

  test('keeps reading at a full window that the broker can not pass: what is left are signs of life', async () => {
    const sink = new HandSink();
    sink.fastDisk = false;
    await open(sink, { receiveWindow: 10 });
    for (const id of ids(1, 10)) broker.publish(reading(id));
    await sink.until(() => sink.rows.length === 10);
    broker.publish({ topic: 'sensors/01/climate', payload: '{"t":11}' });
    await sink.until(() => sink.rows.length === 11);
  });

  test('acknowledges what it could not use once its dead letter is durable', async () => {
    const sink = new HandSink();
    sink.fastDisk = false;
    await open(sink);
    broker.publish({ ...reading(7), payload: 'nonsense' });
    await sink.until(() => sink.waiting === 1);
    expect(sink.rejected).toEqual([{ subject: 'sensors/01/climate', reason: 'not JSON', bytes: 8 }]);
    expect(broker.acked()).toEqual([]);
    sink.commit();
    await broker.until(() => broker.acked().length === 1);
  });

  test('ends the session, acknowledging nothing, when a commit will never be', async () => {
    const sink = new HandSink();
    sink.fastDisk = false;
    const session = await open(sink);
    broker.publish(reading(1));
    await sink.until(() => sink.waiting === 1);
    sink.commit(new Error('read-only file system'));
    expect(codeOf(await session.closed.catch((error: unknown) => error))).toBe('mqtt.not_durable');
    await broker.until(() => broker.connections === 0);
    expect(broker.acked()).toEqual([]);
  });

  test('acknowledges nothing with a commit that was asked for before the message was delivered', async () => {
    const sink = new HandSink(undefined, 1);
    sink.fastDisk = false;
    await open(sink);
    // Each of them needs a chunk of its own.
    broker.send(Buffer.concat(ids(1, 3).map((id) => publishPacket(reading(id)))));
    await sink.until(() => sink.rows.length === 3);
    for (const id of ids(1, 3)) {
      await sink.until(() => sink.waiting > 0);
      sink.commitOldest();
      // A PUBACK too many would be there with the one that is due.
      await broker.until(() => broker.acked().length >= id);
      expect(broker.acked()).toEqual(ids(1, id));
    }
  });

  test('cuts no message in two: its readings and its receipt go into one delivery', async () => {
    const sink = new HandSink(undefined, 16);
    const each = [{ filter: 'batch', tag: 'v', each: '$', value: '@' }];
    await open(sink, { topics: each });
    const delivered: number[] = [];
    sink.receipts.add = () => delivered.push(sink.chunk.length);
    const payload = JSON.stringify(ids(1, 10));
    broker.send(Buffer.concat([1, 2, 3].map((id) => publishPacket({ topic: 'batch', payload, qos: 1, id }))));
    await sink.until(() => sink.rows.length === 30);
    expect(delivered).toEqual([0, 0, 0]);
  });
});

describe('mqtt sessions', () => {
  test('asks for a persistent session with a stable client id, QoS 1 and MQTT 3.1.1', async () => {
    await open(new HandSink());
    const connect = broker.ofType(CONNECT)[0]?.bytes ?? Buffer.alloc(0);
    expect(connect.subarray(2, 12)).toEqual(Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0, 0, 60]));
    expect(connect.subarray(14).toString()).toBe('sluice-box-weather');
    expect(broker.ofType(SUBSCRIBE)[0]?.bytes.at(-1)).toBe(1);
  });

  test('forgets its receipts when the broker has no session', async () => {
    const receipts = new KeptReceipts();
    receipts.kept.set(1, 'old');
    await open(new HandSink(receipts));
    expect(receipts.clears).toBe(1);
  });

  test('stores a message once that was committed but not acknowledged before the connection broke', async () => {
    const receipts = new KeptReceipts();
    const first = new HandSink(receipts);
    first.fastDisk = false;
    await open(first);
    for (const id of ids(1, 4)) broker.publish(reading(id));
    await first.until(() => first.rows.length === 4);
    // Committed, but the line dies before the acknowledgements leave.
    broker.hangUp();
    await sessions[0]?.closed.catch(() => {});

    const second = new HandSink(receipts);
    broker.sessionPresent = true;
    // One of them was not marked as sent again (aedes never does), one never arrived before.
    broker.afterConnack = [1, 2, 3, 4, 5].map((id) => publishPacket(reading(id, { dup: id !== 2 })));
    await open(second);
    await broker.until(() => broker.acked().length === 5);
    expect(broker.acked()).toEqual([1, 2, 3, 4, 5]);
    expect(second.rows.map((row) => row.value)).toEqual([5]);
  });

  test('stores a message again whose packet id came back with other content', async () => {
    const receipts = new KeptReceipts();
    const first = new HandSink(receipts);
    await open(first);
    broker.publish(reading(1));
    await broker.until(() => broker.acked().length === 1);
    broker.hangUp();
    await sessions[0]?.closed.catch(() => {});
    const second = new HandSink(receipts);
    broker.sessionPresent = true;
    broker.afterConnack = [publishPacket({ ...reading(1), payload: '{"t":99}' })];
    await open(second);
    await second.until(() => second.rows.length === 1);
    expect(second.rows[0]?.value).toBe(99);
  });

  test('stores equal messages with one packet id on the same connection each time', async () => {
    const receipts = new KeptReceipts();
    broker.sessionPresent = true;
    const sink = new HandSink(receipts);
    await open(sink);
    for (let time = 1; time <= 5; time++) {
      broker.publish(reading(1));
      await broker.until(() => broker.acked().length === time);
    }
    expect(sink.rows).toHaveLength(5);
  });

  test('keeps a receipt until a ping sent after its acknowledgement is answered', async () => {
    const receipts = new KeptReceipts();
    const clock = new ManualClock();
    const sink = new HandSink(receipts);
    await open(sink, {}, clock);
    broker.publish(reading(3));
    await broker.until(() => broker.acked().length === 1);
    expect([...receipts.kept.keys()]).toEqual([3]);
    const pings = broker.ofType(PINGREQ).length;
    // Wait for the driver to have set its timer.
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1000);
    await broker.until(() => broker.ofType(PINGREQ).length > pings);
    broker.publish(reading(4));
    await broker.until(() => broker.acked().length === 2);
    expect([...receipts.kept.keys()]).toEqual([4]);
    expect(receipts.released).toEqual([3]);
  });

  test('keeps the receipt of a message whose packet id was confirmed for the message before it', async () => {
    const receipts = new KeptReceipts();
    const clock = new ManualClock();
    const sink = new HandSink(receipts);
    await open(sink, {}, clock);
    broker.publish(reading(1));
    await broker.until(() => broker.acked().length === 1);
    await new Promise((resolve) => setImmediate(resolve));
    broker.silent = true;
    clock.advance(1000);
    await broker.until(() => broker.ofType(PINGREQ).length === 1);
    // The broker has read the PUBACK: it uses the id again, then answers the ping.
    sink.fastDisk = false;
    const pong = Buffer.from([0xd0, 0]);
    broker.send(
      Buffer.concat([publishPacket({ ...reading(1), payload: '{"t":20}' }), pong, publishPacket(reading(2))]),
    );
    await sink.until(() => sink.rows.length === 3);
    expect(receipts.released).toEqual([]);
    expect([...receipts.kept.keys()]).toEqual([1, 2]);
  });

  test('lets go of old receipts when nothing old can come any more', async () => {
    const receipts = new KeptReceipts();
    const asked: number[] = [];
    for (const id of [100, 101, 102]) receipts.kept.set(id, 'from before');
    broker.sessionPresent = true;
    const clock = new ManualClock();
    const sink = new HandSink(receipts);
    const { release } = sink.receipts;
    sink.receipts.release = (packetIds) => {
      asked.push(...packetIds);
      release(packetIds);
    };
    await open(sink, {}, clock);
    broker.publish(reading(1));
    await broker.until(() => broker.acked().length === 1);
    expect([...receipts.kept.keys()]).toEqual([100, 101, 102, 1]);
    clock.advance(2000);
    await broker.until(() => broker.ofType(PINGREQ).length >= 1);
    broker.publish(reading(2));
    await broker.until(() => broker.acked().length === 2);
    // Not those of all packet ids: each is a statement in the commit.
    expect(asked.filter((id) => id !== 1)).toEqual([100, 101, 102]);
    expect([...receipts.kept.keys()].filter((id) => id >= 100)).toEqual([]);
  });

  test('takes no message for an old one when nothing old can come any more', async () => {
    const receipts = new KeptReceipts();
    const first = new HandSink(receipts);
    await open(first);
    broker.publish(reading(1));
    await broker.until(() => broker.acked().length === 1);
    broker.hangUp();
    await sessions[0]?.closed.catch(() => {});
    broker.sessionPresent = true;
    const clock = new ManualClock();
    const second = new HandSink(receipts);
    await open(second, {}, clock);
    clock.advance(2000);
    await broker.until(() => broker.ofType(PINGREQ).length >= 1);
    broker.publish(reading(2));
    // The same words with the same packet id, but the broker had our acknowledgement.
    broker.publish(reading(1));
    await broker.until(() => broker.acked().length === 3);
    expect(second.rows.map((row) => row.value)).toEqual([2, 1]);
  });

  test('takes no message for an old one half a minute after it caught up, however quiet the source was', async () => {
    const receipts = new KeptReceipts();
    const first = new HandSink(receipts);
    await open(first);
    for (const id of ids(1, 2)) broker.publish(reading(id));
    await broker.until(() => broker.acked().length === 2);
    broker.hangUp();
    await sessions[0]?.closed.catch(() => {});
    broker.sessionPresent = true;
    const clock = new ManualClock();
    const second = new HandSink(receipts);
    await open(second, {}, clock);
    clock.advance(2000);
    await broker.until(() => broker.ofType(PINGREQ).length >= 1);
    // The answer has come when what the broker sent after it is through.
    broker.publish({ topic: 'sensors/01/climate', payload: '{"t":0}' });
    await second.until(() => second.rows.length === 1);
    clock.advance(30_000);
    expect([...receipts.kept.keys()]).toEqual([]);
    // The same words with the same packet id, but new; and one that a broker sends again only now.
    broker.publish(reading(1));
    broker.publish(reading(2, { dup: true }));
    await broker.until(() => broker.acked().length === 4);
    expect(second.rows.map((row) => row.value)).toEqual([0, 1]);
  });

  test('stores a message once that comes twice before its acknowledgement was sent', async () => {
    const sink = new HandSink();
    sink.fastDisk = false;
    await open(sink);
    broker.publish(reading(1));
    broker.publish(reading(1, { dup: true }));
    broker.publish(reading(2));
    await sink.until(() => sink.rows.length === 2);
    sink.commit();
    await broker.until(() => broker.acked().length === 2);
    expect(broker.acked()).toEqual([1, 2]);
    expect(sink.rows.map((row) => row.value)).toEqual([1, 2]);
    // No second PUBACK was on its way that would have been taken for that of the id's next message.
    broker.publish({ ...reading(1), payload: '{"t":3}' });
    await sink.until(() => sink.waiting === 1);
    expect(broker.acked()).toEqual([1, 2]);
    sink.commit();
    await broker.until(() => broker.acked().length === 3);
  });

  test('acknowledges a packet id for the message that has it now, when that is committed', async () => {
    const sink = new HandSink();
    sink.fastDisk = false;
    await open(sink);
    broker.publish(reading(1));
    await sink.until(() => sink.waiting === 1);
    broker.publish({ ...reading(1), payload: '{"t":99}' });
    broker.publish(reading(2));
    await sink.until(() => sink.rows.length === 3);
    sink.commitOldest();
    await new Promise((resolve) => setImmediate(resolve));
    expect(broker.acked()).toEqual([]);
    sink.commit();
    await broker.until(() => broker.acked().length === 2);
    expect(broker.acked()).toEqual([1, 2]);
  });

  test('neither stores nor acknowledges again what a broker resends while the PUBACK is on its way', async () => {
    const sink = new HandSink();
    await open(sink);
    broker.publish(reading(1));
    await broker.until(() => broker.acked().length === 1);
    broker.publish(reading(1, { dup: true }));
    broker.publish(reading(2));
    await broker.until(() => broker.acked().length === 2);
    expect(broker.acked()).toEqual([1, 2]);
    expect(sink.rows.map((row) => row.value)).toEqual([1, 2]);
  });

  test('takes a message that came before the CONNACK once it knows whether the broker kept the session', async () => {
    const receipts = new KeptReceipts();
    const first = new HandSink(receipts);
    await open(first);
    broker.publish(reading(1));
    await broker.until(() => broker.acked().length === 1);
    broker.hangUp();
    await sessions[0]?.closed.catch(() => {});
    broker.silent = true;
    const second = new HandSink(receipts);
    const opening = open(second, { connectTimeout: '2s' });
    await broker.until(() => broker.ofType(CONNECT).length === 2);
    broker.silent = false;
    const late = Buffer.concat([publishPacket(reading(2)), Buffer.from([0x20, 2, 1, 0]), publishPacket(reading(3))]);
    broker.send(Buffer.concat([publishPacket(reading(1)), late.subarray(0, 10)]));
    await new Promise((resolve) => setImmediate(resolve));
    broker.send(late.subarray(10));
    await opening;
    await broker.until(() => broker.acked().length === 4);
    expect(broker.acked()).toEqual([1, 1, 2, 3]);
    expect(second.rows.map((row) => row.value)).toEqual([2, 3]);
  });

  test('keeps only so much of what comes before the CONNACK', async () => {
    broker.silent = true;
    const opening = open(new HandSink(), { connectTimeout: '2s' }).catch((error: unknown) => error);
    await broker.until(() => broker.ofType(CONNECT).length === 1);
    const payload = 'x'.repeat(200_000);
    for (const id of ids(1, 20)) broker.publish({ ...reading(id), payload });
    expect(codeOf(await opening)).toBe('mqtt.malformed');
  });

  test('names the filter that the broker refused', async () => {
    broker.grant = (at, asked) => (at === 1 ? 128 : asked);
    const two = [...topics, { filter: 'secret/#', tag: '{1}', payload: 'number' }];
    const thrown = await open(new HandSink(), { topics: two }).catch((error: unknown) => error);
    expect(codeOf(thrown)).toBe('mqtt.subscription_refused');
    expect(String(thrown)).toContain('secret/#');
    expect(String(thrown)).not.toContain('sensors');
  });

  test('says that the credentials were refused', async () => {
    broker.connackCode = 5;
    const thrown = await open(new HandSink()).catch((error: unknown) => error);
    expect(codeOf(thrown)).toBe('mqtt.refused');
    expect((thrown as { hint?: string }).hint).toContain('username');
  });
});
