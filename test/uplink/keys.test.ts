// Keys that change while readings flow: nothing is lost, nothing waits for a person, and an older list brings nothing back.
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { systemClock } from '../../src/runtime/clock.ts';
import type { KeyListPlace } from '../../src/uplink/cloud-keys.ts';
import { type Connect, connectHttp } from '../../src/uplink/connection.ts';
import type { Uplink } from '../../src/uplink/index.ts';
import { openKeyList, signKeyList } from '../../src/wire/keylist.ts';
import { type CloudKey, generateCloudKey, generateRootKey, retirePrevious, toPublic } from '../../src/wire/keys.ts';
import { Plant } from './plant.ts';

jest.setTimeout(30_000);

const root = generateRootKey();
let line: Plant;
let alarms: string[];
let saved: Uint8Array[];
let place: KeyListPlace;

beforeEach(async () => {
  line = await new Plant().start();
  alarms = [];
  saved = [];
  place = { root: root.publicKey, save: (list) => void saved.push(list) };
});
afterEach(() => line.stop());

const onAlarm = (id: string, active: boolean, text: string) => {
  if (active) alarms.push(`${id}: ${text}`);
};
const versions = () => saved.map((list) => openKeyList(list).keys.version);
const held = () => alarms.filter((alarm) => alarm.startsWith('uplink/held'));
const listOf = (keys: CloudKey) => signKeyList(toPublic(keys), root);

/** The receiver again, with other keys on the same data, as a restart brings them. */
async function restart(keys: CloudKey, keyList: Uint8Array | undefined = listOf(keys)): Promise<void> {
  await line.cloud?.close();
  await line.startCloud('cloud', { keys, keyList });
}

async function until(holds: () => boolean, withinMs = 15_000): Promise<void> {
  const endMs = systemClock.monoMs() + withinMs;
  while (!holds()) {
    if (systemClock.monoMs() > endMs)
      throw new Error(`not within ${withinMs} ms: ${JSON.stringify(line.uplink?.state())}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Commits until a promise is done. */
async function load(until: Promise<unknown>): Promise<void> {
  let done = false;
  const ended = until.finally(() => {
    done = true;
  });
  while (!done) {
    line.commit(200);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await ended;
}

const start = (more: object = {}): Uplink => line.startUplink({}, { keyList: place, onAlarm, ...more });

describe('the keys of the cloud', () => {
  test('change under load, twice, without a batch that is lost or held', async () => {
    const next = generateCloudKey(line.keys);
    const retired = retirePrevious(next);
    await restart(line.keys);
    const uplink = start();
    await load(until(() => uplink.state().delivered > 500));
    await load(restart(next));
    await load(until(() => versions().includes(2)));
    const before = uplink.state().delivered;
    await load(until(() => uplink.state().delivered > before + 500));
    // Who still sealed to the first key could not be understood any more: everyone seals to the second.
    await load(restart(retired));
    await load(until(() => versions().includes(3)));
    await line.drained();
    await line.expectAllDelivered();
    expect(versions()).toEqual([2, 3]);
    expect(held()).toEqual([]);
    // The answer that brought the unknown key was judged again, by the newer list: nothing was believed unseen or thrown away.
    expect(uplink.state().ignored).toEqual({ unsigned: 0, foreign: 0, unknownKey: 0, malformed: 0 });
  });

  test('replaced at once, without the old ones: what was sealed to them is sealed anew', async () => {
    await restart(line.keys);
    const uplink = start();
    await load(until(() => uplink.state().delivered > 0));
    line.cable.cut();
    line.commit(3000);
    await until(() => Object.values(uplink.state().lanes).some(({ waiting }) => waiting > 0));
    await restart(retirePrevious(generateCloudKey(line.keys)));
    await line.drained();
    await line.expectAllDelivered();
    expect(versions()).toEqual([3]);
    expect(held()).toEqual([]);
  });

  test('that no list names are not believed: held, with an alarm, until there is one', async () => {
    const stranger = { ...generateCloudKey(), recipient: line.keys.recipient };
    await restart(stranger, signKeyList(toPublic(stranger), generateRootKey()));
    const uplink = start();
    line.commit(500);
    await until(() => uplink.state().breaker === 'held');
    expect(uplink.state()).toMatchObject({ delivered: 0, holds: [{ reason: 'answer_key_unknown' }] });
    expect(held()[0]).toMatch(/a key that is not known.*key list \(version 1 here\)/);
    expect(saved).toEqual([]);
    await restart(line.keys);
    await line.drained();
    await line.expectAllDelivered();
    expect(uplink.state().breaker).toBe('closed');
  });

  test('of an older list are not believed again, nor is its version taken', async () => {
    const third = retirePrevious(generateCloudKey(line.keys));
    await restart(third);
    const uplink = start();
    await until(() => versions().includes(3));
    await restart(line.keys);
    line.commit(500);
    await until(() => uplink.state().breaker === 'held');
    expect(uplink.state().delivered).toBe(0);
    expect(versions()).toEqual([3]);
  });

  test('are fetched at the first start, where only the root is known; without them it says what it waits for', async () => {
    await line.cloud?.close();
    line.cloud = undefined;
    line.commit(500);
    const uplink = start({ cloudKeys: undefined });
    await until(() => held().length > 0);
    expect(uplink.state().holds).toMatchObject([{ reason: 'no_key_list' }]);
    await line.startCloud('cloud', { keyList: listOf(line.keys) });
    await line.drained();
    await line.expectAllDelivered();
    expect(versions()).toEqual([1]);
  });

  test('are followed although the list could not be fetched at first: a failure, and nothing to call a person for', async () => {
    await restart(line.keys);
    let broken = 0;
    const connect: Connect = (options) => {
      const link = connectHttp(options);
      const get: typeof link.get = (question, signal) =>
        ++broken <= 2 ? Promise.reject(new Error('ECONNRESET')) : link.get(question, signal);
      return { get, post: (message, signal) => link.post(message, signal), close: () => link.close() };
    };
    const uplink = start({ connect });
    await load(until(() => uplink.state().delivered > 0));
    await load(restart(generateCloudKey(line.keys)));
    await load(until(() => versions().includes(2)));
    await line.drained();
    await line.expectAllDelivered();
    expect(broken).toBeGreaterThan(2);
    expect(held()).toEqual([]);
  });

  test('are followed although the list cannot be kept', async () => {
    const save = () => {
      throw new Error('ENOSPC');
    };
    await restart(line.keys);
    start({ keyList: { ...place, save } });
    await load(restart(generateCloudKey(line.keys)));
    line.commit(100);
    await line.drained();
    await line.expectAllDelivered();
    expect(held()).toEqual([]);
  });
});
