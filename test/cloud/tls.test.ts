// HTTPS of its own: with the certificate that is there, and with the next one without a restart.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { codeOf } from '../../src/errors.ts';
import { formatCloudKey } from '../../src/wire/keys.ts';
import { Stand } from './cloud.ts';

const PROGRAM = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const certificate = (name: string) => fileURLToPath(new URL(`../uplink/certificates/${name}`, import.meta.url));
const read = (name: string) => readFileSync(certificate(name), 'utf8');

let stand: Stand;
beforeEach(() => {
  stand = new Stand();
});
afterEach(() => stand.end());

/** The status, or the code of what went wrong. Each on a connection of its own. */
function health(url: string, options: { ca: string; cert?: string; key?: string }): Promise<number | string> {
  return new Promise((resolve) => {
    get(`${url}/healthz`, { ...options, agent: false, servername: 'localhost' }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    }).on('error', (error) => resolve(codeOf(error)));
  });
}

test('a certificate that was replaced is shown after SIGHUP; a bad one changes nothing', async () => {
  const at = (name: string) => join(stand.dataDir, name);
  writeFileSync(at('cloud.key'), formatCloudKey(stand.keys), { mode: 0o600 });
  writeFileSync(at('devices.json'), JSON.stringify(stand.devices));
  writeFileSync(at('tls.key'), read('server.key'), { mode: 0o600 });
  copyFileSync(certificate('expired.pem'), at('tls.pem'));
  const files = ['--data', stand.dataDir, '--keys', at('cloud.key'), '--devices', at('devices.json')];
  const tls = ['--tls-cert', at('tls.pem'), '--tls-key', at('tls.key')];
  const child = spawn(process.execPath, [PROGRAM, 'cloud', '--port', '0', ...files, ...tls], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  const output = createInterface(child.stdout);
  const said = async (what: RegExp): Promise<string> => {
    for (;;) {
      const line = lines.find((text) => what.test(text));
      if (line !== undefined) return line;
      await once(output, 'line');
    }
  };
  output.on('line', (line) => lines.push(line));
  const url = /"url":"(https:[^"]+)"/.exec(await said(/"ready":true/))?.[1] ?? '';
  const trusted = { ca: read('server.pem') + read('expired.pem') };
  expect(await health(url, trusted)).toBe('CERT_HAS_EXPIRED');
  copyFileSync(certificate('server.pem'), at('tls.pem'));
  child.kill('SIGHUP');
  await said(/were read again/);
  expect(await health(url, trusted)).toBe(200);
  writeFileSync(at('tls.pem'), 'half a file');
  child.kill('SIGHUP');
  await said(/stay what they were/);
  expect(await health(url, trusted)).toBe(200);
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
}, 20_000);

test('with a CA for clients only those get in that it signed', async () => {
  const own = { cert: read('server.pem'), key: read('server.key') };
  const cloud = await stand.start({ tls: { ...own, clientCa: own.cert } });
  expect(cloud.url).toMatch(/^https:/);
  expect(await health(cloud.url, { ca: own.cert, ...own })).toBe(200);
  expect(await health(cloud.url, { ca: own.cert })).not.toBe(200);
  expect(() => cloud.renewTls(own)).toThrow(expect.objectContaining({ code: 'cloud.tls_unusable' }));
});

test('a key that is not the certificate’s is refused at the start', async () => {
  const tls = { cert: read('server.pem'), key: 'no key' };
  await expect(stand.start({ tls })).rejects.toMatchObject({ code: 'cloud.tls_unusable' });
});
