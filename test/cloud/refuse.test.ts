import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { CloudKey } from '../../src/wire/keys.ts';
import { generateCloudKey } from '../../src/wire/keys.ts';
import { Stand } from './cloud.ts';
import { block, Gateway, polls } from './gateway.ts';

const LIMIT = 64 * 1024;

let stand: Stand;
beforeAll(async () => {
  stand = new Stand();
  await stand.start({ limits: { envelopeBytesMax: LIMIT, bodyMs: 300 } });
});
afterAll(() => stand.end());

const good = (gateway = stand.gateway) => gateway.seal([gateway.readings(block(polls(2), 1))]);
const flipped = (envelope: Uint8Array, at: number) => {
  const copy = envelope.slice();
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
};

describe('a batch that is not right is refused under signature,', () => {
  test.each([
    ['the magic', 0, 'magic_unknown', 400],
    ['the suite', 4, 'suite_unknown', 400],
    ['the codec', 5, 'signature_invalid', 400],
    ['the recipient', 8, 'signature_invalid', 400],
    ['the signer', 16, 'signer_unknown', 403],
    ['the device', 24, 'device_foreign', 403],
    ['the batch id', 40, 'signature_invalid', 400],
    ['the row count', 71, 'signature_invalid', 400],
    ['the ephemeral key', 72, 'signature_invalid', 400],
    ['the box', 110, 'signature_invalid', 400],
  ])('when a bit of %s flipped', async (_what, at, name, status) => {
    const envelope = flipped(good(), at);
    const { body, status: got } = await stand.post('/v1/batches', envelope);
    const claimed = new Gateway(stand.keys, { ...stand.gateway.key, device: envelope.slice(24, 40) });
    expect(got).toBe(status);
    expect(claimed.verify(body, envelope)).toMatchObject({ rows: 0, duplicates: 0 });
    const { text } = await stand.ask('/metrics');
    expect(text).toContain(`sluice_cloud_answers_total{kind="batch",code="${name}"}`);
  });

  test('when a bit of the signature flipped', async () => {
    const envelope = good();
    expect(await stand.deliver(flipped(envelope, envelope.length - 1))).toMatchObject({ name: 'signature_invalid' });
  });

  test('when it is sealed to another cloud', async () => {
    const other: CloudKey = { ...generateCloudKey(), answer: stand.keys.answer };
    const stranger = new Gateway(other, stand.gateway.key);
    expect(await stand.deliver(good(stranger), stranger)).toMatchObject({ name: 'recipient_unknown', status: 409 });
  });

  test('when a control row is malformed: nothing of the batch is kept', async () => {
    const { gateway } = stand;
    const bad = gateway.records([{ type: 'SETTLED', run: 'x', class: 3, n: 1 }], 2);
    const envelope = gateway.seal([gateway.readings(block(polls(3), 100)), bad]);
    expect(await stand.deliver(envelope)).toMatchObject({ name: 'control_malformed', status: 422 });
    const fine = gateway.seal([gateway.readings(block(polls(3), 100))]);
    expect(await stand.deliver(fine)).toMatchObject({ name: 'ok', duplicates: 0 });
  });

  test('when it is too large, and hashed without being kept', async () => {
    const envelope = new Uint8Array(LIMIT * 4).fill(7);
    envelope.set(good().subarray(0, 104));
    expect(await stand.deliver(envelope)).toMatchObject({ name: 'too_large', status: 413 });
  });
});

describe('what nobody could sign for', () => {
  test('is refused with a plain error: too short, far too long', async () => {
    const short = await stand.post('/v1/batches', new Uint8Array(30));
    expect([short.status, JSON.parse(Buffer.from(short.body).toString())]).toEqual([
      400,
      { code: 'query.invalid', message: '30 bytes are no batch', hint: null },
    ]);
    const long = await stand.post('/v1/batches', new Uint8Array(LIMIT * 4 + 1)).catch(() => ({ status: 413 }));
    expect(long.status).toBe(413);
  });

  test('ends at the deadline when the body trickles', async () => {
    const { hostname, port } = new URL(stand.url);
    const socket = connect(Number(port), hostname);
    socket.write('POST /v1/batches HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nSLC1');
    const text = await new Promise<string>((resolve, reject) => {
      let received = '';
      socket.on('data', (data) => {
        received += data;
      });
      socket.on('close', () => resolve(received)).on('error', reject);
    });
    expect(text).toMatch(/^HTTP\/1.1 408 /);
    expect(text).toContain('cloud.body_late');
  });
});

test('a revoked key is refused', async () => {
  await stand.stop();
  stand.devices = [{ ...stand.gateway.entry, revoked: true }];
  await stand.start();
  expect(await stand.deliver(good())).toMatchObject({ name: 'signer_revoked', status: 403 });
});

test('more requests than there is room for are told to come again', async () => {
  await stand.stop();
  stand.devices = [stand.gateway.entry];
  await stand.start({ limits: { requestsMax: 1, retryAfterS: 9, closeMs: 100 } });
  const { hostname, port } = new URL(stand.url);
  const socket = connect(Number(port), hostname);
  // Takes the only place and keeps it: its body never ends.
  socket.write('POST /v1/batches HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\nexpect: 100-continue\r\n\r\n');
  await once(socket, 'data');
  const busy = await stand.post('/v1/batches', good());
  expect([busy.status, busy.headers.get('retry-after')]).toEqual([503, '9']);
  socket.destroy();
  await once(socket, 'close');
  await until(async () => (await stand.post('/v1/batches', good())).status === 200);
});

async function until(done: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await done()); tries++) if (tries > 100) throw new Error('never came true');
}

test('the end does not wait for a body that trickles', async () => {
  const { hostname, port } = new URL(stand.url);
  const socket = connect(Number(port), hostname);
  const gone = once(socket, 'close');
  socket
    .on('error', () => {})
    .write('POST /v1/batches HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\nexpect: 100-continue\r\n\r\n');
  await once(socket, 'data');
  await stand.stop();
  await gone;
});
