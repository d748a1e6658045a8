// The set-up that `npm start` and `npm test` begin with. That it works as a whole, each fresh clone shows.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { headersVersion, holdsHeaders } from '../scripts/headers.mjs';
import { installed, requireNode, root } from '../scripts/setup.mjs';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-setup-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(path: string, content: unknown): void {
  mkdirSync(join(folder, path, '..'), { recursive: true });
  writeFileSync(join(folder, path), typeof content === 'string' ? content : JSON.stringify(content));
}

describe('installed', () => {
  const lock = (packages: object) => write('package-lock.json', { packages: { '': {}, ...packages } });
  const record = (packages: object) => write('node_modules/.package-lock.json', { packages });

  test('is false on a fresh clone', () => {
    lock({ 'node_modules/mqtt': { version: '5.0.0' } });
    expect(installed(folder)).toBe(false);
  });

  test('is true when each package has the version of the lockfile', () => {
    lock({ 'node_modules/mqtt': { version: '5.0.0' } });
    record({ 'node_modules/mqtt': { version: '5.0.0' } });
    expect(installed(folder)).toBe(true);
  });

  test('is false when the lockfile moved on', () => {
    lock({ 'node_modules/mqtt': { version: '5.1.0' } });
    record({ 'node_modules/mqtt': { version: '5.0.0' } });
    expect(installed(folder)).toBe(false);
  });

  test('is false when a package is missing, unless it is for another platform', () => {
    record({});
    lock({ 'node_modules/fsevents': { version: '2.0.0', optional: true } });
    expect(installed(folder)).toBe(true);
    lock({ 'node_modules/mqtt': { version: '5.0.0' } });
    expect(installed(folder)).toBe(false);
  });
});

describe('the headers for native addons', () => {
  test('are those of the running Node', () => {
    expect(headersVersion('20.19.2')).toBe('20.19.2');
    expect(headersVersion('24.18.0')).toBe('24.18.0');
  });

  test('are those of 24.18.1 from Node 24.19 on, whose own make addons abort at exit', () => {
    expect(headersVersion('24.19.0')).toBe('24.18.1');
    expect(headersVersion('24.21.0')).toBe('24.18.1');
  });

  test('are taken from a folder only when their version is exact and node-gyp can use them', () => {
    write('include/node/node_version.h', version(20, 19, 2));
    expect(holdsHeaders(folder, '20.19.2')).toBe(false); // no common.gypi
    write('include/node/common.gypi', '{}');
    expect(holdsHeaders(folder, '20.19.2')).toBe(true);
    expect(holdsHeaders(folder, '20.19.3')).toBe(false);
  });

  function version(major: number, minor: number, patch: number): string {
    const parts = { MAJOR: major, MINOR: minor, PATCH: patch };
    return Object.entries(parts)
      .map(([name, value]) => `#define NODE_${name}_VERSION ${value}\n`)
      .join('');
  }
});

test('refuses a Node that is too old and says which one it needs', () => {
  expect(() => requireNode('20.18.3')).toThrow('Sluice needs Node.js 20.19 or newer; this is 20.18.3.');
  for (const version of ['20.19.0', '22.0.0', '24.18.1']) requireNode(version);
});

test('is silent and quick when nothing is to do', () => {
  const begin = performance.now();
  const result = spawnSync(process.execPath, ['scripts/setup.mjs'], { cwd: root, encoding: 'utf8' });
  expect(result).toMatchObject({ status: 0, stdout: '', stderr: '' });
  expect(performance.now() - begin).toBeLessThan(2000); // about 150 ms on an idle machine
});

test('keeps registry addresses out of the lockfile', () => {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
  expect(lock).not.toContain('"resolved"');
});

test('names the packages of every platform in the lockfile', () => {
  // npm leaves out what its registry does not have, and `npm ci` then refuses the lockfile. Add such a package by hand:
  // version, os, cpu, libc and optional, as its neighbours have them.
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !packages[`node_modules/${name}`] && !packages[`${path}/node_modules/${name}`],
    ),
  );
  expect(missing).toEqual([]);
});
