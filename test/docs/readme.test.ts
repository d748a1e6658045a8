// The documents say what is there: files, tests, libraries, commands, codes; and their configurations are good ones.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { drivers } from '../../drivers/index.ts';
import { formatFinding } from '../../src/config/findings.ts';
import { checkConfig } from '../../src/config/load.ts';
import { ANSWER_CODES, answerCode } from '../../src/wire/answercodes.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const markdownIn = (folder: string) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name));
const documents = [...markdownIn('.'), ...markdownIn('docs'), ...markdownIn('drivers')].concat(
  drivers.map(({ name }) => `drivers/${name}/README.md`),
);

/** What stands between ``` and ``` of one language. */
function blocksOf(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map(([, block = '']) => block);
}

describe('configurations', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-docs-'));
    writeFileSync(join(folder, 'panel.password'), 'not a real one\n', { mode: 0o600 });
    writeFileSync(join(folder, 'weather'), 'not a real one\n', { mode: 0o600 });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** The findings, one a line. */
  function check(yaml: string): string[] {
    const file = join(folder, 'sluice.yaml');
    writeFileSync(file, yaml);
    return checkConfig(file, drivers, { CREDENTIALS_DIRECTORY: folder }).map((finding) => formatFinding(finding));
  }

  test.each(readdirSync(join(root, 'examples')))('examples/%s is a good one', (name) => {
    expect(check(read(`examples/${name}`))).toEqual([]);
  });

  test('of the README are good ones, and there is one', () => {
    const blocks = blocksOf(read('README.md'), 'yaml');
    expect(blocks).not.toEqual([]);
    for (const block of blocks) expect(check(block)).toEqual([]);
  });

  test.each(drivers.map(({ name }) => name))("of the %s driver's README are good ones", (name) => {
    const blocks = blocksOf(read(`drivers/${name}/README.md`), 'yaml');
    expect(blocks).not.toEqual([]);
    for (const block of blocks) expect(check(`gateway: { id: line3 }\n${block}`)).toEqual([]);
  });
});

test.each(documents)('every link of %s leads somewhere', (document) => {
  const links = [...read(document).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(([, target = '']) => target);
  const local = links.filter((target) => !/^[a-z]+:/.test(target));
  expect(local.filter((target) => !existsSync(join(root, dirname(document), target)))).toEqual([]);
});

test.each(documents)('every file that %s names is there', (document) => {
  const words = [...read(document).matchAll(/`((?:src|drivers|test|docs|examples|bench|scripts)\/[\w./-]+)`/g)];
  const files = words.map(([, file = '']) => file);
  const isThere = (file: string) => existsSync(join(root, file)) || existsSync(join(root, 'test', file));
  expect(files.filter((file) => !isThere(file))).toEqual([]);
});

test('every test that docs/faults.md relies on is there', () => {
  const files = [...read('docs/faults.md').matchAll(/`([\w/-]+\.test\.ts)`/g)].map(([, file = '']) => file);
  expect(files.length).toBeGreaterThan(50);
  expect(files.filter((file) => !existsSync(join(root, 'test', file)))).toEqual([]);
});

test("the README's library table has every dependency, and nothing that is none", () => {
  const [, table = ''] = read('README.md').split('| library |');
  const named = [...table.matchAll(/^\| (?!---)([^|]+) \|/gm)].flatMap(([, cell = '']) => cell.trim().split(', '));
  // Ours.
  const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
  expect(Object.keys(dependencies ?? {}).filter((name) => !named.includes(name))).toEqual([]);
  const known = [...Object.keys(dependencies ?? {}), ...Object.keys(devDependencies ?? {})];
  expect(named.filter((name) => !known.includes(name))).toEqual([]);
});

// Each command is a process of its own.
test('every command and option of the README is one', () => {
  const shown = [...blocksOf(read('README.md'), 'sh'), ...blocksOf(read('README.md'), '')].join('\n');
  const lines = shown.split('\n').map((line) => line.replace(/^\$ /, '').replace(/ # .*| \d*>.*/, ''));
  const inline = [...read('README.md').matchAll(/`(sluice [^`]+)`/g)].map(([, line = '']) => line);
  const demo = lines.flatMap((line) =>
    line.startsWith('npm start -- ') ? [line.replace('npm start --', 'sluice demo')] : [],
  );
  const commands = [...lines.filter((line) => line.startsWith('sluice ')), ...inline, ...demo];
  expect(commands.length).toBeGreaterThan(10);
  for (const line of commands) {
    const [, verb = '', ...words] = line.split(/\s+/);
    const [first = ''] = words;
    const help = isCommandOf(verb, first) ? helpOf(verb, first) : helpOf(verb);
    const options = words.filter((word) => /^--?[a-z]/.test(word));
    expect([line, options.filter((option) => !help.includes(option))]).toEqual([line, []]);
  }
}, 30_000);

const helps = new Map<string, string>();

/** As the built program prints it. */
function helpOf(...verbs: string[]): string {
  const name = verbs.join(' ');
  const known = helps.get(name);
  if (known !== undefined) return known;
  const main = join(root, 'dist/src/cli/main.js');
  const { status, stdout } = spawnSync(process.execPath, [main, ...verbs, '--help'], { encoding: 'utf8' });
  expect([name, status]).toEqual([name, 0]);
  helps.set(name, stdout);
  return stdout;
}

/** `token` of `sluice cloud token`. */
function isCommandOf(verb: string, word: string): boolean {
  return /^[a-z]+$/.test(word) && new RegExp(`^  ${word} `, 'm').test(helpOf(verb).split('\nCommands:')[1] ?? '');
}

test("the answer codes of docs/delivery.md are the wire's", () => {
  const rows = [...read('docs/delivery.md').matchAll(/^\| (\d+) \| `(\w+)` \| (\d+) \| (yes)? ?\|$/gm)];
  const documented = rows.map(([, code, name, http, systemic]) => ({
    code: Number(code),
    name,
    http: Number(http),
    systemic: systemic === 'yes',
  }));
  expect(documented).toEqual(Object.values(ANSWER_CODES).map((code) => answerCode(code)));
});

test('the demo configuration is the one that the demo runs', () => {
  // Ours.
  const { sources } = parse(read('examples/demo.yaml')) as { sources: Record<string, { driver: string }> };
  expect(Object.values(sources).map(({ driver }) => driver)).toEqual(['modbus', 'mqtt']);
});
