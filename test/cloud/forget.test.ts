// Deletion on request: all of it goes, nothing else does, and nothing comes back.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { AccessTokens } from '../../src/cloud/access/tokens.ts';
import { decode } from '../../src/cloud/block-readings.ts';
import { openDatabase } from '../../src/cloud/database.ts';
import { openStore, type Store } from '../../src/cloud/store.ts';
import { sleep, systemClock } from '../../src/runtime/clock.ts';
import { rowNumbers } from '../../src/wire/block.ts';
import { CLASS } from '../../src/wire/classes.ts';
import { open } from '../../src/wire/envelope.ts';
import { count, rangeSet } from '../../src/wire/ranges.ts';
import { tagIdHex } from '../../src/wire/tag.ts';
import { NOW_MS, Stand, standing } from './cloud.ts';
import { block, Gateway, polls, type Row, START_MS, TAGS } from './gateway.ts';

const SECRET = 'what the operator typed about himself';
const STATE = 'boiler/state';

let stand: Stand;
let other: Gateway;
beforeEach(() => {
  stand = new Stand();
  other = new Gateway(stand.keys);
  stand.devices.push({ ...other.entry, name: 'line4' });
});
afterEach(() => stand.end());

/** Polls in which the text tag says the secret, in every way there is. */
const telling = (polled: number, startMs = START_MS): Row[] =>
  polls(polled, startMs).map((row) => (row.tag === 3 ? { ...row, value: `${SECRET} ${row.timeMs % 7}` } : row));

function aggregate(gateway: Gateway, tag: number, from: number) {
  const at = { startMs: START_MS, periodMs: 60_000, firstMs: START_MS, lastMs: START_MS };
  const figures = { count: 1, good: 1, mean: 1, m2: 0, min: 1, max: 1, first: 1, last: 1 };
  const run = Buffer.from(gateway.run).toString('hex');
  const id = tagIdHex(TAGS[tag] ?? { name: '', type: 'bool' });
  return { type: 'AGG', tag: id, run, class: CLASS.normal, ranges: [{ from, to: from }], ...at, ...figures };
}

function alarm(tag: string) {
  return {
    type: 'ALARM',
    id: `${tag}/hi`,
    tag,
    condition: 'hi',
    state: 'raised',
    at: START_MS,
    text: `${SECRET} of ${tag}`,
  };
}

function batches(gateway: Gateway): Uint8Array[] {
  const sections = [
    gateway.records([gateway.runOpen(), ...gateway.tagRows()], 1),
    gateway.records([alarm(STATE), alarm('boiler/energy')], 1, CLASS.alarm),
    gateway.records([aggregate(gateway, 3, 90_001), aggregate(gateway, 0, 90_002)], 1, CLASS.aggregate),
  ];
  const blocks = Array.from({ length: 12 }, (_, i) =>
    gateway.readings(block(telling(20, START_MS + i * 20_000), 1 + i * 100)),
  );
  const only = gateway.readings(
    block(
      telling(10, START_MS + 1e6).filter(({ tag }) => tag === 3),
      5001,
    ),
  );
  return [
    gateway.seal([...sections, ...blocks.slice(0, 6)]),
    gateway.seal([...blocks.slice(6), only], gateway.known()),
  ];
}

/** Bytes of all files. */
const files = () =>
  readdirSync(stand.dataDir)
    .map((name) => readFileSync(join(stand.dataDir, name)).toString('latin1'))
    .join('');

describe('over HTTP', () => {
  let admin: string;
  beforeEach(async () => {
    const db = openDatabase(stand.dataDir);
    admin = new AccessTokens(db, systemClock).add('root', 'admin');
    db.close();
    await stand.start({ clock: { ...systemClock, wallMs: () => NOW_MS } });
    for (const gateway of [stand.gateway, other])
      for (const envelope of batches(gateway))
        expect(await stand.deliver(envelope, gateway)).toMatchObject({ name: 'ok' });
  });

  const ask = (path: string) => stand.ask(path, admin);
  async function forget(body: object) {
    const response = await fetch(`${stand.url}/v1/forget`, {
      method: 'POST',
      headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    // biome-ignore lint/suspicious/noExplicitAny: tests say what they expect of it
    const json: any = await response.json();
    return { status: response.status, json, location: response.headers.get('location') };
  }
  async function forgotten(body: object) {
    const { status, json, location } = await forget(body);
    expect([status, json.phase]).toEqual([202, 'blocks']);
    for (let tries = 0; ; tries++) {
      const { json: now } = await ask(location ?? '');
      if (now.phase === 'done') return now;
      if (tries > 500) throw new Error(`it never got done: ${JSON.stringify(now)}`);
      await sleep(systemClock, 10);
    }
  }
  const digests = async (gateway: string) => (await ask(`/v1/digest?gateway=${gateway}`)).json.tags;

  test('a tag is gone from answers and files, the others are as they were, and resends do not bring it back', async () => {
    await stand.stop();
    expect(files()).toContain(SECRET);
    await stand.start({ clock: { ...systemClock, wallMs: () => NOW_MS } });
    const before = { ...(await digests('line3')) };
    const done = await forgotten({ gateway: 'line3', tag: STATE, reason: 'he asked for it' });
    expect(done).toMatchObject({ gateway: 'line3', tag: STATE, by: 'root', reason: 'he asked for it' });
    // Of 13 blocks one held nothing else; TAG, AGG and ALARM rows.
    expect(done.removed).toEqual({ readings: 250, blocks: 1, aggregates: 1, records: 3, tags: 1 });

    expect((await ask(`/v1/readings?tag=line3:${STATE}&from=0`)).status).toBe(404);
    const { json: latest } = await ask('/v1/latest?gateway=line3');
    expect(latest.latest.map(({ tag }: { tag: string }) => tag)).not.toContain(STATE);
    expect(latest.latest).toHaveLength(4);
    delete before[STATE];
    expect(await digests('line3')).toEqual(before);
    const { json: alarms } = await ask('/v1/alarms?gateway=line3');
    expect(alarms.gateways.map(({ tag }: { tag: string }) => tag)).toEqual(['boiler/energy']);
    const windows = await ask(`/v1/windows?tag=line3:boiler/flow_temp&period=1min&from=${START_MS}&to=${START_MS + 1}`);
    expect(windows.json.windows).toMatchObject([{ count: 61, aggregated: 1 }]);

    for (const envelope of batches(stand.gateway)) {
      const answer = await stand.deliver(envelope);
      // The second one's dictionary went with the tag: it is sealed again with all ids.
      if (answer.name !== 'dictionary_unknown') expect(answer).toMatchObject({ name: 'ok', duplicates: answer.rows });
    }
    expect(await digests('line3')).toEqual(before);
    expect(Object.keys(await digests('line4'))).toContain(STATE);
    const { json: audit } = await ask('/v1/audit?action=forget.tag');
    expect(audit.entries.map(({ details }: { details: object }) => details)).toMatchObject([
      { step: 'done', readings: 250 },
      { step: 'asked for', reason: 'he asked for it' },
    ]);
  });

  test('nothing of a device is left, in answers or in files, and resends do not bring it back', async () => {
    const theirs = await digests('line4');
    const done = await forgotten({ gateway: 'line3', everything: true });
    expect(done.removed).toMatchObject({ readings: 1210, blocks: 13, aggregates: 2, tags: 5 });
    await forgotten({ gateway: 'line4', tag: STATE });
    await forgotten({ gateway: 'line4', tag: 'boiler/energy' });
    expect(await digests('line3')).toEqual({});
    expect((await ask('/v1/latest?gateway=line3')).json.latest).toEqual([]);
    expect((await ask('/v1/alarms?gateway=line3')).json.gateways).toEqual([]);
    const first = batches(stand.gateway)[0] ?? new Uint8Array();
    const again = await stand.deliver(first);
    expect(again).toMatchObject({ name: 'ok', duplicates: again.rows });
    expect(await digests('line3')).toEqual({});
    const kept = Object.entries(theirs).filter(([tag]) => tag !== STATE && tag !== 'boiler/energy');
    expect(await digests('line4')).toEqual(Object.fromEntries(kept));
    await stand.stop();
    // Both gateways said it: here as texts of a tag, and in the texts of alarms of the two tags.
    expect(files()).not.toContain(SECRET);
  });

  test.each([
    [{ gateway: 'line3' }, 400, 'query.invalid'],
    [{ gateway: 'line3', tag: STATE, everything: true }, 400, 'query.invalid'],
    [{ gateway: 'line9', everything: true }, 404, 'query.not_found'],
    [{ gateway: 'line3', tag: 'boiler/none' }, 404, 'query.not_found'],
    [{ gateway: 'line3', tag: 'boiler/*' }, 404, 'query.not_found'],
  ])('%j is refused, and nothing goes', async (body, status, code) => {
    const answer = await forget(body);
    expect([answer.status, answer.json.code]).toEqual([status, code]);
    expect((await ask('/v1/forget')).json.requests).toEqual([]);
  });
});

describe('in steps', () => {
  const CLOCK = standing();
  let store: Store;
  beforeEach(() => {
    store = openStore(stand.dataDir, CLOCK);
  });
  afterEach(() => store.close());

  const apply = (envelope: Uint8Array) => {
    const keys = { signer: () => stand.gateway.key.publicKey, recipient: () => stand.keys.recipient.secretKey };
    return store.receiver.apply(open(envelope, keys), NOW_MS);
  };
  const request = (tag: string | null) =>
    store.forgetting.request({ device: stand.gateway.device, tag, reason: null, who: 'root', atMs: NOW_MS }, null);

  test('it goes on after a restart at any step, and numbers of rows stay what they were', () => {
    for (const envelope of batches(stand.gateway)) apply(envelope);
    const device = store.catalog.findDevice(stand.gateway.device) ?? 0;
    const numbers = () =>
      [...store.tier.blocks.each(device)].flatMap((id) => {
        const stored = store.tier.blocks.get(id);
        if (stored === undefined) return [];
        const columns = decode(stored);
        const all = rowNumbers(columns);
        return columns.tags.flatMap(({ counts }, i) => {
          const start = columns.tags.slice(0, i).reduce((sum, tag) => sum + tag.counts.reduce((a, b) => a + b), 0);
          const rows = counts.reduce((a, b) => a + b);
          return [...all.subarray(start, start + rows)].map((n) => ({ n, tag: stored.tags[i] }));
        });
      });
    const state = store.catalog.tagsNamed(STATE)[0]?.id;
    const expected = numbers().filter(({ tag }) => tag !== state);
    request(STATE);
    let steps = 0;
    for (let more = true; more; steps++) {
      more = store.forgetting.step();
      store.close();
      store = openStore(stand.dataDir, CLOCK);
    }
    expect(steps).toBeGreaterThan(4);
    expect(numbers()).toEqual(expected);
    const run = store.catalog.findRun(device, Buffer.from(stand.gateway.run).toString('hex')) ?? 0;
    expect(count(rangeSet(store.ranges.all('held', run, CLASS.normal)))).toBe(1210);
  });

  test('what comes after the request is kept, under its name', async () => {
    for (const envelope of batches(stand.gateway)) apply(envelope);
    request(STATE);
    store.forgetting.step();
    const { gateway } = stand;
    apply(gateway.seal([gateway.readings(block([{ tag: 3, timeMs: NOW_MS, value: 'new' }], 9001))]));
    while (store.forgetting.step());
    const keys = store.catalog.tagsNamed(STATE);
    const span = { fromMs: 0, toMs: NOW_MS + 1 };
    expect((await store.tier.range(keys, span, 10)).readings).toMatchObject([{ value: 'new' }]);
    expect(await store.tier.latest(keys)).toMatchObject([{ value: 'new' }]);
  });
});
