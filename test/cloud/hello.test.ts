import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { verifyAnswer } from '../../src/wire/answer.ts';
import { CLASS } from '../../src/wire/classes.ts';
import { envelopeDigest } from '../../src/wire/envelope.ts';
import { type HelloRun, signHello, verifyHelloAnswer } from '../../src/wire/hello.ts';
import { generateDeviceKey, toPublic } from '../../src/wire/keys.ts';
import { NOW_MS, nameOf, Stand } from './cloud.ts';
import { block, columnsOf, cut, polls } from './gateway.ts';

let stand: Stand;
beforeEach(async () => {
  stand = new Stand();
  await stand.start();
});
afterEach(() => stand.end());

async function hello(runs: readonly HelloRun[]) {
  const { key } = stand.gateway;
  const nonce = randomBytes(32);
  const { status, body } = await stand.post('/v1/hello', signHello({ nonce, sentMs: NOW_MS, runs }, key));
  expect(status).toBe(200);
  return verifyHelloAnswer(body, { nonce, device: key.device }, toPublic(stand.keys));
}
const all = [{ from: 1, to: 1000 }];

describe('HELLO', () => {
  test('says what is held and explained of exactly the rows asked about', async () => {
    const { gateway } = stand;
    const columns = columnsOf(block(polls(4), 1));
    await stand.deliver(
      gateway.seal([
        gateway.readings(
          cut(columns, [
            { from: 1, to: 6 },
            { from: 9, to: 20 },
          ]),
        ),
        gateway.records([gateway.gap([{ from: 5, to: 8 }])], 1),
      ]),
    );
    const run = new Uint8Array(gateway.run);
    const answer = await hello([
      {
        run,
        classes: [
          { class: CLASS.control, ranges: all },
          { class: CLASS.normal, ranges: [{ from: 4, to: 10 }] },
        ],
      },
      { run: new Uint8Array(16), classes: [{ class: CLASS.normal, ranges: all }] },
    ]);
    expect(answer).toMatchObject({ cloudMs: NOW_MS, keyListVersion: 1, codecs: [1, 2, 0] });
    expect(answer.held).toEqual([
      {
        run,
        classes: [
          { class: CLASS.control, held: [{ from: 1, to: 1 }], explained: [] },
          {
            class: CLASS.normal,
            held: [
              { from: 4, to: 6 },
              { from: 9, to: 10 },
            ],
            explained: [{ from: 7, to: 8 }],
          },
        ],
      },
    ]);
  });

  test('pages over many runs: each page answers its own, and what is not listed is not held', async () => {
    const { gateway } = stand;
    const runs = Array.from({ length: 100 }, () => new Uint8Array(randomBytes(16)));
    for (const run of runs.filter((_, i) => i % 10 === 0)) {
      gateway.run = run;
      await stand.deliver(gateway.seal([gateway.readings(block(polls(1), 1))]));
    }
    const ask = (page: Uint8Array[]) =>
      hello(page.map((run) => ({ run, classes: [{ class: CLASS.normal, ranges: all }] })));
    const [first, second] = [await ask(runs.slice(0, 64)), await ask(runs.slice(64))];
    expect([first.held.length, second.held.length]).toEqual([7, 3]);
    expect(second.held[0]?.run).toEqual(runs[70]);
  });

  test('of a gateway that never sent anything is answered: nothing is held', async () => {
    expect((await hello([])).held).toEqual([]);
  });

  test.each([
    ['by a key that is not listed', () => generateDeviceKey(), 'signer_unknown'],
    [
      'by another key in the name of a device',
      () => ({ ...generateDeviceKey(), device: stand.gateway.key.device, kid: stand.gateway.key.kid }),
      'hello_signature_invalid',
    ],
    ['in the name of another device', () => ({ ...stand.gateway.key, device: new Uint8Array(16) }), 'device_foreign'],
  ])('%s is refused under signature', async (_how, make, name) => {
    const key = make();
    const bytes = signHello({ nonce: randomBytes(32), sentMs: NOW_MS, runs: [] }, key);
    const { body, status } = await stand.post('/v1/hello', bytes);
    const answer = verifyAnswer(body, key.device, envelopeDigest(bytes), toPublic(stand.keys));
    expect([status, nameOf(answer.code)]).toEqual([403, name]);
  });
});
