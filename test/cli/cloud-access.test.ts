// Tokens of a receiver from the command line, beside the receiver that runs.

import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Place, sluice, sluiceJson } from './rig.ts';

let place: Place;
let data: string;
beforeEach(() => {
  place = new Place();
  data = join(place.path, 'data');
  mkdirSync(data);
});
afterEach(() => place.remove());

test('a token made while the receiver runs works at once, and is void at once when it is removed', async () => {
  await sluice('keygen', '--cloud', '--dir', place.path);
  await sluice('keygen', '--dir', place.path);
  const { facts: admin } = (await sluiceJson('cloud', 'access', 'add', 'root', '--role', 'admin', '--data', data)) as {
    facts: { token: string };
  };
  const args = ['--data', data, '--keys', join(place.path, 'cloud.key'), '--devices', join(place.path, 'device.json')];
  const receiver = place.start('cloud', '--host', '0.0.0.0', '--port', '0', ...args);
  if (receiver.stdout === null) throw new Error('its output is a pipe');
  let url = '';
  for await (const line of createInterface(receiver.stdout)) {
    url = /"url":"(http:[^"]+)"/.exec(line)?.[1]?.replace('0.0.0.0', '127.0.0.1') ?? '';
    if (url !== '') break;
  }
  const status = async (path: string, token: string) =>
    (await fetch(url + path, { headers: { authorization: `Bearer ${token}` } })).status;

  const added = await sluice('cloud', 'access', 'add', 'grafana', '--expires', '90d', '--data', data);
  expect(added.code).toBe(0);
  expect(added.problems).toMatch(/nobody can show it again/);
  expect(await status('/v1/latest', added.out)).toBe(200);
  expect(await status('/v1/audit', added.out)).toBe(403);
  expect(await status('/v1/audit', admin.token)).toBe(200);

  const { facts: tokens } = await sluiceJson('cloud', 'access', 'list', '--data', data);
  expect(tokens).toMatchObject([
    { name: 'grafana', role: 'reader', expires: expect.any(String), used: expect.any(String) },
    { name: 'root', role: 'admin', expires: null },
  ]);
  expect((await sluice('cloud', 'access', 'remove', 'grafana', '--data', data)).code).toBe(0);
  expect(await status('/v1/latest', added.out)).toBe(401);
  const audit = await sluice('cloud', 'audit', '--data', data);
  expect(audit.out).toMatch(/\(uid \d+\).* access\.remove +grafana +done/);
  expect(audit.out).toMatch(/grafana +127\.0\.0\.1 +login\.refused +admin +refused/);
  receiver.kill('SIGTERM');
  expect(await once(receiver, 'exit')).toEqual([0, null]);
});

test.each([
  ['no folder', ['access', 'list'], /required option '--data <folder>'/],
  ['a folder that is not there', ['access', 'list', '--data', '/nowhere/at/all'], /there is no folder/],
  ['a role that is none', ['access', 'add', 'x', '--role', 'god', '--data', '.'], /Allowed choices/],
])('%s is a mistake in the words', async (_what, args, said) => {
  const { code, problems } = await sluice('cloud', ...args);
  expect([code, problems]).toEqual([2, expect.stringMatching(said)]);
});

test('a name that is taken, or not there, is said', async () => {
  expect((await sluice('cloud', 'access', 'add', 'x', '--data', data)).code).toBe(0);
  const again = await sluice('cloud', 'access', 'add', 'x', '--data', data);
  expect([again.code, again.problems]).toEqual([2, expect.stringMatching(/there is a token called x/)]);
  expect((await sluice('cloud', 'access', 'remove', 'y', '--data', data)).code).toBe(1);
});

test('a receiver whose key file is missing or wrong says so once, and exits with 2', async () => {
  const args = ['--data', data, '--devices', 'none', '--port', '0'];
  for (const [key, said] of [
    ['none.key', /none\.key cannot be read \(ENOENT\)/],
    [place.file('bad.key', '{}', 0o600), /cloud receiver stops: .*key/],
  ] as const) {
    const receiver = place.start('cloud', '--keys', key, ...args);
    const lines: string[] = [];
    for (const stream of [receiver.stdout, receiver.stderr]) stream?.on('data', (text) => lines.push(String(text)));
    expect(await once(receiver, 'close')).toEqual([2, null]);
    expect(lines.join('')).toMatch(said);
    expect(lines.join('')).not.toMatch(/ENOENT.*ENOENT/);
  }
});
