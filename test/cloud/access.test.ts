// Who may ask what: roles, tokens, and what is written down of both.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AccessTokens, mayActAs, ROLES, type Role } from '../../src/cloud/access/tokens.ts';
import { openDatabase } from '../../src/cloud/database.ts';
import { ManualClock, systemClock } from '../../src/runtime/clock.ts';
import { Stand } from './cloud.ts';

let stand: Stand;
const tokens = new Map<Role, string>();
beforeAll(async () => {
  stand = new Stand();
  const db = openDatabase(stand.dataDir);
  for (const role of ROLES) tokens.set(role, new AccessTokens(db, systemClock).add(`the ${role}`, role));
  db.close();
  await stand.start({ clock: systemClock });
});
afterAll(() => stand.end());

async function call(method: string, path: string, token?: string, body?: object) {
  const response = await fetch(stand.url + path, {
    method,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: tests say what they expect of it
  const json: any = JSON.parse(await response.text());
  return { status: response.status, json, headers: response.headers };
}

describe('each role may what those before it may, and no more:', () => {
  const questions: [string, string, Role, object | undefined][] = [
    ['GET', '/v1/latest', 'reader', undefined],
    ['GET', '/v1/devices', 'reader', undefined],
    ['POST', '/v1/alarms/1/close', 'operator', { by: 'anna' }],
    ['GET', '/v1/access', 'admin', undefined],
    ['POST', '/v1/access', 'admin', { name: '', role: 'reader' }],
    ['DELETE', '/v1/access/nobody', 'admin', undefined],
    ['GET', '/v1/audit', 'admin', undefined],
  ];
  const cases = questions.flatMap((question) =>
    ROLES.map((role) => [question[0], question[1], role, question] as const),
  );
  test.each(cases)('%s %s by a %s', async (method, path, role, [, , needed, body]) => {
    const { status, json } = await call(method, path, tokens.get(role), body);
    if (mayActAs(role, needed)) expect([401, 403]).not.toContain(status);
    else expect([status, json.code]).toEqual([403, 'cloud.forbidden']);
  });

  test.each(questions)('%s %s takes a token', async (method, path, _role, body) => {
    const { status, json, headers } = await call(method, path, undefined, body);
    expect([status, json.code, headers.get('www-authenticate')]).toEqual([401, 'cloud.unauthorized', 'Bearer']);
  });
});

describe('a token', () => {
  test('is shown once, works at once, and is gone at once when it is removed', async () => {
    const admin = tokens.get('admin');
    const made = await call('POST', '/v1/access', admin, { name: 'grafana', role: 'reader' });
    expect([made.status, made.headers.get('cache-control')]).toEqual([201, 'no-store']);
    expect(made.json.token).toMatch(/^slct_[0-9a-f]{12}_[\w-]{43}$/);
    expect((await call('GET', '/v1/latest', made.json.token)).status).toBe(200);
    const { json } = await call('GET', '/v1/access', admin);
    const listed = json.tokens.find(({ name }: { name: string }) => name === 'grafana');
    expect(listed).toMatchObject({ role: 'reader', expires: null, used: expect.stringMatching(/Z$/) });
    expect(JSON.stringify(json)).not.toContain(made.json.token.slice(-20));
    expect((await call('POST', '/v1/access', admin, { name: 'grafana', role: 'admin' })).json.code).toBe(
      'access.taken',
    );
    expect((await call('DELETE', '/v1/access/grafana', admin)).json).toEqual({ removed: 'grafana' });
    expect((await call('GET', '/v1/latest', made.json.token)).status).toBe(401);
  });

  test('is nowhere in the files, but for its hash', async () => {
    await stand.stop();
    const file = readFileSync(join(stand.dataDir, 'cloud.sqlite')).toString('latin1');
    for (const token of tokens.values()) expect(file).not.toContain(token.split('_').at(-1));
    await stand.start({ clock: systemClock });
  });

  test.each([
    ['with one character changed', (token: string) => token.slice(0, -1) + (token.endsWith('A') ? 'B' : 'A')],
    ['with the finding part of another', (token: string) => token.replace(/_\w{12}_/, '_000000000000_')],
    ['cut short', (token: string) => token.slice(0, -1)],
    ['and something behind it', (token: string) => `${token}x`],
  ])('%s is none', async (_what, change) => {
    const { status, json } = await call('GET', '/v1/latest', change(tokens.get('reader') ?? ''));
    expect([status, json.code]).toEqual([401, 'cloud.unauthorized']);
  });

  test('that has expired is none', () => {
    const db = openDatabase(join(stand.dataDir, 'other'));
    const clock = new ManualClock();
    const access = new AccessTokens(db, clock);
    const token = access.add('guest', 'reader', clock.wallMs() + 1000);
    expect(access.check(token)).toEqual({ name: 'guest', role: 'reader' });
    clock.advance(1000);
    expect(access.check(token)).toBeUndefined();
    db.close();
  });
});

test('who did what is kept: tokens made and removed, alarms, logins that were refused', async () => {
  const admin = tokens.get('admin');
  await call('POST', '/v1/access', admin, { name: 'short lived', role: 'operator' });
  await call('DELETE', '/v1/access/short%20lived', admin);
  for (let i = 0; i < 5; i++) await call('GET', '/v1/audit', tokens.get('operator'));
  const { json } = await call('GET', '/v1/audit?limit=1000', admin);
  const about = (action: string) => json.entries.filter((entry: { action: string }) => entry.action === action);
  expect(about('access.add')[0]).toMatchObject({
    who: 'the admin',
    address: '127.0.0.1',
    object: 'short lived',
    outcome: 'done',
    details: { role: 'operator' },
  });
  expect(about('access.remove')[0]).toMatchObject({ object: 'short lived' });
  const refused = about('login.refused');
  expect(refused.reduce((sum: number, { count }: { count: number }) => sum + count, 0)).toBeGreaterThanOrEqual(5);
  // Joined, so that knocking does not fill it.
  expect(refused.length).toBeLessThan(5);
  const first = await call('GET', '/v1/audit?limit=2', admin);
  const second = await call('GET', `/v1/audit?limit=2&cursor=${first.json.next}`, admin);
  expect([...first.json.entries, ...second.json.entries]).toEqual(json.entries.slice(0, 4));
});

describe('while there is no token', () => {
  let open: Stand;
  beforeAll(async () => {
    open = new Stand();
    await open.start();
  });
  afterAll(() => open.end());

  test('this machine may read, and only this machine can reach it', async () => {
    expect((await open.ask('/v1/latest')).status).toBe(200);
    await expect(new Stand().start({ host: '0.0.0.0' })).rejects.toMatchObject({ code: 'cloud.token_missing' });
  });

  test('nobody is an administrator', async () => {
    const { status, json } = await open.ask('/v1/audit');
    expect([status, json.code]).toEqual([401, 'cloud.unauthorized']);
  });

  test('a web page that calls it by another name is not answered', async () => {
    const { request } = await import('node:http');
    const status = await new Promise((resolve, reject) => {
      request(`${open.url}/v1/latest`, { headers: { host: 'evil.example.com' } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
    expect(status).toBe(403);
  });
});
