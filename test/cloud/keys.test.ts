// Keys at the receiver: enrolled once for a token, replaced without a gap, revoked at once; refused by name otherwise.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Audit } from '../../src/cloud/audit.ts';
import { openDatabase } from '../../src/cloud/database.ts';
import { DeviceBook, devicesFile, issueToken } from '../../src/cloud/index.ts';
import { ManualClock, systemClock } from '../../src/runtime/clock.ts';
import { ANSWER_CODES, verifyAnswer } from '../../src/wire/answer.ts';
import { hex } from '../../src/wire/bytes.ts';
import { parseToken, signEnrolment, verifyEnrolAnswer } from '../../src/wire/enrol.ts';
import { envelopeDigest } from '../../src/wire/envelope.ts';
import { signHello, verifyHelloAnswer } from '../../src/wire/hello.ts';
import { signKeyChange } from '../../src/wire/key-change.ts';
import { rootHash, signKeyList, verifyKeyList } from '../../src/wire/keylist.ts';
import {
  type DeviceKey,
  generateCloudKey,
  generateRootKey,
  kidOf,
  type SecretKey,
  toPublic,
} from '../../src/wire/keys.ts';
import { fill } from '../wire/fixtures.ts';
import { nameOf, quiet, Stand } from './cloud.ts';
import { block, Gateway, polls } from './gateway.ts';

const HOUR_MS = 3_600_000;
const WEAK = Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0));
const root = generateRootKey();

/** As `generateDeviceKey`, by node:crypto: a hundred times as fast, and this file needs a hundred. */
function newKey(device: Uint8Array = new Uint8Array(randomBytes(16))): DeviceKey {
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const [seed, publicKey] = [d, x].map((part) => new Uint8Array(Buffer.from(part, 'base64url'))) as [
    Uint8Array,
    Uint8Array,
  ]; // two
  return { device, kid: kidOf(publicKey), publicKey, secretKey: new Uint8Array([...seed, ...publicKey]) };
}

let stand: Stand;
let clock: ManualClock;
let file: string;
let folder: string;

beforeEach(async () => {
  stand = new Stand();
  clock = new ManualClock();
  folder = mkdtempSync(join(tmpdir(), 'sluice-keys-'));
  file = join(folder, 'devices.json');
  writeFileSync(file, '[]');
  await start();
});
afterEach(async () => {
  await stand.end();
  rmSync(folder, { recursive: true, force: true });
});

async function start(keyList: Uint8Array | undefined = signKeyList(toPublic(stand.keys), root)): Promise<void> {
  // Its wall clock and windows of attempts are ours to move; time-outs run.
  const mixed = { ...systemClock, wallMs: () => clock.wallMs(), monoMs: () => clock.monoMs() };
  await stand.start({ devices: devicesFile(file, quiet), keyList, clock: mixed });
}

/** As the commands do it, beside the running receiver. */
function beside<T>(work: (parts: { db: ReturnType<typeof openDatabase>; audit: Audit }) => T): T {
  const db = openDatabase(stand.dataDir);
  try {
    return work({ db, audit: new Audit(db, clock) });
  } finally {
    db.close();
  }
}

function token(name = 'box', validMs = HOUR_MS): string {
  const devices = devicesFile(file, quiet);
  return beside((parts) => issueToken({ ...parts, devices, root: root.publicKey, clock, name, validMs, who: 'anna' }))
    .token;
}

const revoke = (name: string) =>
  beside((parts) =>
    new DeviceBook({ ...parts, devices: devicesFile(file, quiet), logger: quiet }).revoke(name, 'anna'),
  );
const audited = () => beside(({ audit }) => audit.list(100));

async function enrol(text: string, key: DeviceKey, change: (body: Uint8Array) => Uint8Array = (body) => body) {
  const made = parseToken(text);
  const { status, body } = await stand.post('/v1/enrol', change(signEnrolment(made, key, fill(32, 9))));
  if (status !== 200) return { status, ...JSON.parse(Buffer.from(body).toString()) };
  return { status, ...verifyEnrolAnswer(body, made, { device: key.device, nonce: fill(32, 9) }) };
}

const listed = () => JSON.parse(readFileSync(file, 'utf8'));

async function deliver(key: DeviceKey, polled = 1): Promise<string> {
  const gateway = new Gateway(stand.keys, key);
  return (await stand.deliver(gateway.seal([gateway.readings(block(polls(polled), 1))]), gateway)).name;
}

async function hello(key: DeviceKey): Promise<string> {
  const body = signHello({ nonce: fill(32, 3), sentMs: 0, runs: [] }, key);
  const answer = await stand.post('/v1/hello', body);
  if (answer.status === 200) {
    verifyHelloAnswer(answer.body, { nonce: fill(32, 3), device: key.device }, toPublic(stand.keys));
    return 'ok';
  }
  return nameOf(verifyAnswer(answer.body, key.device, envelopeDigest(body), toPublic(stand.keys)).code);
}

async function changeKey(old: DeviceKey, next: SecretKey): Promise<string> {
  const body = signKeyChange(old, { ...next, device: old.device });
  const answer = await stand.post('/v1/device-key', body);
  const { code } = verifyAnswer(answer.body, old.device, envelopeDigest(body), toPublic(stand.keys));
  return nameOf(code);
}

describe('the key list', () => {
  test('is served as it was signed', async () => {
    const response = await fetch(`${stand.url}/v1/keys`);
    expect(response.headers.get('content-type')).toBe('application/vnd.sluice.key-list');
    const list = new Uint8Array(await response.arrayBuffer());
    expect(verifyKeyList(list, rootHash(root.publicKey), 1)).toEqual(toPublic(stand.keys));
  });

  test('of other keys, another version or no root keeps the receiver from starting', async () => {
    await stand.stop();
    const next = generateCloudKey(stand.keys);
    const lists = [
      [signKeyList({ ...toPublic(generateCloudKey()) }, root), 'cloud.key_list_mismatch'],
      [signKeyList(toPublic(next), root), 'cloud.key_list_mismatch'],
      [signKeyList({ ...toPublic(stand.keys), answer: toPublic(next).answer }, root), 'cloud.key_list_mismatch'],
      [fill(200, 1), 'keylist.malformed'],
      [
        signKeyList(toPublic(stand.keys), root).map((byte, i) => (i === 50 ? byte ^ 1 : byte)),
        'keylist.signature_invalid',
      ],
    ] as const;
    for (const [list, code] of lists) await expect(start(list)).rejects.toMatchObject({ code });
  });

  test('that is missing: nobody enrols, and who asks for it is told', async () => {
    const text = token();
    await stand.stop();
    await stand.start({ devices: devicesFile(file, quiet) });
    expect((await stand.ask('/v1/keys')).status).toBe(404);
    expect(await enrol(text, newKey())).toMatchObject({ status: 409, code: 'enrol.no_key_list' });
  });
});

describe('enrolment', () => {
  test('lists the key under the name of the token, in force at once, and says whose lists to believe', async () => {
    const key = newKey();
    expect(await deliver(key)).toBe('signer_unknown');
    expect(await enrol(token(), key)).toMatchObject({
      ...{ status: 200, name: 'box', keys: toPublic(stand.keys), root: root.publicKey },
    });
    expect(listed()).toEqual([{ device: hex(key.device), name: 'box', publicKey: hex(key.publicKey) }]);
    expect(await deliver(key)).toBe('ok');
    expect(await hello(key)).toBe('ok');
    expect(audited()).toMatchObject([
      { who: 'box', action: 'device.enrol', object: hex(key.device), outcome: 'done', address: '127.0.0.1' },
      { who: 'anna', action: 'enrol.token', object: 'box', outcome: 'done' },
    ]);
    expect(JSON.stringify(audited())).not.toContain(hex(parseToken(token('other')).secret));
  });

  test('whose answer was lost is answered equally as often as the same key asks, and lists it once', async () => {
    const [text, key] = [token(), newKey()];
    const first = await enrol(text, key);
    clock.advance(2 * HOUR_MS);
    await stand.stop();
    await start();
    expect(await enrol(text, key)).toEqual(first);
    expect(listed()).toHaveLength(1);
    // What a person did to the list since then stays done.
    writeFileSync(file, '[]');
    expect(await enrol(text, key)).toEqual(first);
    expect(listed()).toEqual([]);
  });

  test('by another key with a token that was used is refused and audited', async () => {
    const [text, key, thief] = [token(), newKey(), newKey()];
    await enrol(text, key);
    expect(await enrol(text, thief)).toMatchObject({ status: 403, code: 'enrol.token_used' });
    // The same device id does not help.
    expect(await enrol(text, { ...thief, device: key.device })).toMatchObject({ code: 'enrol.token_used' });
    expect(listed()).toHaveLength(1);
    expect(audited()[0]).toMatchObject({ action: 'enrol.refused', outcome: 'refused', address: '127.0.0.1', count: 2 });
  });

  test('is refused by name, and changes nothing', async () => {
    const [known, key] = [newKey(), newKey()];
    const entry = { device: hex(known.device), name: 'line1', publicKey: hex(known.publicKey) };
    const revoked = newKey();
    const gone = { device: hex(revoked.device), name: 'line0', publicKey: hex(revoked.publicKey), revoked: true };
    writeFileSync(file, JSON.stringify([entry, gone]));
    const before = listed();
    const text = token('a');
    const late = token('b', 1);
    clock.advance(10);
    const forged = { ...parseToken(text), secret: fill(32, 1) };
    const tries: [string, number, Promise<{ status: number; code?: string }>][] = [
      ['enrol.malformed', 400, enrol(text, key, (body) => body.slice(1))],
      ['enrol.token_expired', 403, enrol(late, key)],
      ['enrol.mac_invalid', 403, enrol(text, key, () => signEnrolment(forged, key, fill(32, 9)))],
      [
        'enrol.token_unknown',
        403,
        enrol(text, key, () => signEnrolment({ ...forged, id: fill(8, 1) }, key, fill(32, 9))),
      ],
      ['enrol.key_weak', 400, enrol(text, { ...key, publicKey: WEAK })],
      ['enrol.signature_invalid', 403, enrol(text, { ...key, publicKey: newKey().publicKey })],
      ['enrol.device_known', 409, enrol(text, { ...key, device: known.device })],
      ['enrol.key_known', 409, enrol(text, { ...known, device: key.device })],
      ['enrol.key_known', 409, enrol(text, revoked)],
    ];
    for (const [code, status, tried] of tries) expect(await tried).toMatchObject({ status, code });
    expect(listed()).toEqual(before);
    // The token was not used up by any of it.
    expect((await enrol(text, key)).status).toBe(200);
  });

  test('with a name that somebody gave away meanwhile is refused', async () => {
    const text = token('box');
    const other = newKey();
    writeFileSync(file, JSON.stringify([{ device: hex(other.device), name: 'box', publicKey: hex(other.publicKey) }]));
    expect(await enrol(text, newKey())).toMatchObject({ status: 409, code: 'enrol.name_taken' });
  });

  test('of a device that is known needs a token for it, and ends its other keys', async () => {
    const [old, next] = [newKey(), newKey()];
    await enrol(token(), old);
    revoke('box');
    const text = token('box');
    expect(parseToken(text).device).toEqual(old.device);
    expect(await enrol(text, next)).toMatchObject({ status: 403, code: 'enrol.device_other' });
    const again = { ...next, device: old.device };
    expect((await enrol(text, again)).status).toBe(200);
    expect(listed()).toEqual([{ device: hex(old.device), name: 'box', publicKey: hex(next.publicKey) }]);
    expect(await deliver(again)).toBe('ok');
    expect(await deliver(old)).toBe('signer_unknown');
  });

  test('attempts of one address are limited for a minute; the right token passes all the same', async () => {
    const text = token();
    const wrong = { ...parseToken(text), secret: fill(32, 1) };
    const guess = () => enrol(text, newKey(), () => signEnrolment(wrong, newKey(), fill(32, 9)));
    for (let i = 0; i < 10; i++) expect((await guess()).code).toBe('enrol.mac_invalid');
    for (let i = 0; i < 3; i++) expect(await guess()).toMatchObject({ status: 429, code: 'enrol.too_many_attempts' });
    expect((await enrol(text, newKey())).status).toBe(200);
    expect((await guess()).status).toBe(429);
    clock.advance(61_000);
    expect((await guess()).code).toBe('enrol.mac_invalid');
  });

  test('goes on with the same key when the list could not be written', async () => {
    const [text, key] = [token(), newKey()];
    writeFileSync(file, '[{'); // a person edits it
    expect(await enrol(text, key)).toMatchObject({ status: 503, code: 'cloud.devices_invalid' });
    writeFileSync(file, '[]');
    expect(await enrol(text, newKey())).toMatchObject({ code: 'enrol.token_used' });
    expect((await enrol(text, key)).status).toBe(200);
    expect(listed()).toHaveLength(1);
  });

  test('a name has one open token', () => {
    token('box', 1000);
    expect(() => token('box')).toThrow(expect.objectContaining({ code: 'usage.device_name' }));
    expect(() => token('a/b')).toThrow(expect.objectContaining({ code: 'usage.device_name' }));
    clock.advance(1001);
    expect(() => token('box')).not.toThrow();
  });
});

describe('a new device key', () => {
  let old: DeviceKey;
  let next: DeviceKey;
  beforeEach(async () => {
    old = newKey();
    next = newKey(old.device);
    await enrol(token(), old);
  });

  test('counts beside the old one until it is used; then only it, also after a restart', async () => {
    expect(await changeKey(old, next)).toBe('ok');
    expect(await deliver(old)).toBe('ok');
    expect(await hello(old)).toBe('ok');
    await stand.stop();
    await start();
    expect(await deliver(old)).toBe('ok');
    expect(await deliver(next)).toBe('ok');
    expect(await deliver(old)).toBe('signer_unknown');
    expect(await hello(old)).toBe('signer_unknown');
    expect(listed()).toEqual([{ device: hex(old.device), name: 'box', publicKey: hex(next.publicKey) }]);
    expect(audited().map(({ action }) => action)).toEqual([
      ...['device.key_replaced', 'device.key_change', 'device.enrol', 'enrol.token'],
    ]);
  });

  test('is seen in a HELLO, too', async () => {
    await changeKey(old, next);
    expect(await hello(next)).toBe('ok');
    expect(await hello(old)).toBe('signer_unknown');
  });

  test('that was brought already is answered equally; another takes the place of one that was never used', async () => {
    expect(await changeKey(old, next)).toBe('ok');
    expect(await changeKey(old, next)).toBe('ok');
    expect(listed()).toHaveLength(2);
    const third = newKey(old.device);
    expect(await changeKey(old, third)).toBe('ok');
    expect(await deliver(next)).toBe('signer_unknown');
    expect(await deliver(third)).toBe('ok');
    expect(listed()).toHaveLength(1);
  });

  test('brought again by who recorded it, after it was used and replaced, is refused', async () => {
    const recorded = signKeyChange(old, next);
    await changeKey(old, next);
    await deliver(next);
    await changeKey(next, newKey(old.device));
    const answer = await stand.post('/v1/device-key', recorded);
    expect(verifyAnswer(answer.body, old.device, envelopeDigest(recorded), toPublic(stand.keys)).code).toBe(
      ANSWER_CODES.signer_unknown,
    );
  });

  test('that signs for the next is thereby used', async () => {
    const third = newKey(old.device);
    await changeKey(old, next);
    expect(await changeKey(next, third)).toBe('ok');
    expect(await deliver(old)).toBe('signer_unknown');
    expect(await deliver(next)).toBe('ok');
    expect(await deliver(third)).toBe('ok');
    expect(await deliver(next)).toBe('signer_unknown');
  });

  test('is refused by name', async () => {
    const other = newKey();
    await enrol(token('other'), other);
    expect(await changeKey(other, old)).toBe('key_known');
    expect(await changeKey({ ...other, device: old.device }, next)).toBe('device_foreign');
    expect(await changeKey(newKey(old.device), next)).toBe('signer_unknown');
    expect(await changeKey(old, { ...next, publicKey: WEAK })).toBe('key_weak');
    expect(await changeKey(old, { ...next, secretKey: other.secretKey })).toBe('key_change_signature_invalid');
    const body = signKeyChange(old, next).subarray(0, 100);
    const answer = await stand.post('/v1/device-key', body);
    expect(verifyAnswer(answer.body, old.device, envelopeDigest(body), toPublic(stand.keys)).code).toBe(
      ANSWER_CODES.key_change_malformed,
    );
    expect((await stand.post('/v1/device-key', body.slice(0, 10))).status).toBe(400);
    expect((await stand.post('/v1/device-key', fill(5000, 1))).status).toBe(413);
    expect(audited()[0]).toMatchObject({ action: 'device.key_change', outcome: 'refused', count: 6 });
    revoke('box');
    expect(await changeKey(old, next)).toBe('signer_revoked');
    expect(listed()).toHaveLength(2);
  });
});

describe('revocation', () => {
  test('is in force at once, before the signature is looked at, and ends keys that wait to be used', async () => {
    const key = newKey();
    const next = newKey(key.device);
    await enrol(token(), key);
    await changeKey(key, next);
    expect(await deliver(key)).toBe('ok');
    expect(revoke('box')).toEqual({ device: hex(key.device), name: 'box', keys: 2 });
    for (const each of [key, next]) {
      expect(await deliver(each)).toBe('signer_revoked');
      expect(await hello(each)).toBe('signer_revoked');
      // Nothing of it is checked any further: not the signature, not whom it is sealed to.
      expect(await deliver({ ...each, secretKey: newKey().secretKey })).toBe('signer_revoked');
    }
    expect(audited()[0]).toMatchObject({ who: 'anna', action: 'device.revoke', object: hex(key.device) });
    expect(() => revoke('nobody')).toThrow(expect.objectContaining({ code: 'cloud.device_unknown' }));
  });
});

describe('the list of devices', () => {
  test('edited by hand while the receiver writes it keeps what the person wrote, and its mode', async () => {
    const hand = newKey();
    writeFileSync(file, `- { device: ${hex(hand.device)}, name: by-hand, publicKey: ${hex(hand.publicKey)} }\n`);
    chmodSync(file, 0o640);
    const key = newKey();
    expect((await enrol(token(), key)).status).toBe(200);
    expect(statSync(file).mode & 0o777).toBe(0o640);
    expect(listed().map(({ name }: { name: string }) => name)).toEqual(['by-hand', 'box']);
    expect(await deliver(hand)).toBe('ok');
  });
});
