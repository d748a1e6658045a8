// Each folder in test/cases/config is a config with what is wrong with it. A new one is written by hand, then checked.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { checkConfig } from '../../src/config/load.ts';
import { fakeDrivers } from './fake-drivers.ts';

const folder = join(import.meta.dirname, '../cases/config');

describe('every finding, with its place', () => {
  test.each(readdirSync(folder))('%s', (name) => {
    const file = join(folder, name, 'config.yaml');
    const findings = checkConfig(file, fakeDrivers, { BROKER_PASSWORD: 'hunter22', GATEWAY: 'bad/hunter22' });
    const expected: unknown = JSON.parse(readFileSync(join(folder, name, 'expected.json'), 'utf8'));
    expect(
      findings.map(({ file: _, ...finding }) => ({
        ...finding,
        reason: finding.reason.replaceAll(`${join(folder, name)}/`, ''),
      })),
    ).toEqual(expected);
    expect(findings.every((finding) => finding.file === file)).toBe(true);
  });
});
