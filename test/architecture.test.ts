// The shape of the code: who may import whom, no cycles, small files, no `any`. A failure here means that the design
// moved: either the import is wrong, or the rule below changes together with the design.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { parseSync } from '@swc/core';

const root = fileURLToPath(new URL('..', import.meta.url));

const LINES_MAX = 300;
/** Files that read better as one than as two, each with its reason. */
const LONG_FILES: Record<string, string> = {};
/** The aim is about 100; this is the alarm. */
const LINES_MEDIAN_MAX = 150;

const BASE = ['wire', 'driver', 'reading', 'config', 'errors', 'runtime'];
const STAGES = ['uplink', 'hmi', 'cache', 'pipeline', 'ingest'];
const DRIVERS = 'drivers/index';

/** Area → the other areas (or single files) it may import, types included. */
const MAY_IMPORT: Record<string, string[]> = {
  cli: ['demo', 'plant', 'gateway', 'cloud', DRIVERS, ...STAGES, ...BASE],
  demo: ['plant', 'gateway', 'cloud', DRIVERS, ...STAGES, ...BASE],
  simulate: ['cloud', ...STAGES, ...BASE],
  plant: BASE,
  gateway: [
    'gateway-ladder',
    'gateway-log-pinned',
    'gateway-key',
    'gateway-panels',
    'gateway-recount',
    'gateway-read-only',
    'gateway-stop',
    'gateway-watch',
    DRIVERS,
    ...STAGES,
    ...BASE,
  ],
  'gateway-ladder': [...STAGES, ...BASE],
  'gateway-log-pinned': [...STAGES, ...BASE],
  'gateway-key': [...STAGES, ...BASE],
  'gateway-panels': [...STAGES, ...BASE],
  'gateway-read-only': ['gateway-stop', ...STAGES, ...BASE],
  'gateway-recount': [...STAGES, ...BASE],
  'gateway-stop': [...STAGES, ...BASE],
  'gateway-watch': ['gateway-metrics', ...STAGES, ...BASE],
  'gateway-metrics': [...STAGES, ...BASE],
  cloud: [DRIVERS, ...STAGES, ...BASE],
  // Stages meet in gateway.ts, not in each other; the cache is what they share.
  uplink: ['cache', ...BASE],
  hmi: ['cache', ...BASE],
  pipeline: ['cache', ...BASE],
  ingest: ['cache', ...BASE],
  cache: BASE,
  driver: ['reading', 'config', 'errors', 'runtime'],
  reading: ['config', 'errors', 'runtime'],
  config: ['driver', 'reading', 'errors', 'runtime'],
  runtime: ['driver', 'reading', 'config', 'errors'],
  errors: [],
  // Both ends of the wire share it, so it stands alone.
  wire: ['reading', 'errors'],
  [DRIVERS]: ['driver', 'a driver'],
  // All that the author of a driver has to know.
  'a driver': ['driver', 'reading', 'errors', 'src/config/fields.ts', 'src/runtime/clock.ts'],
};

/** `src/cache/worker.ts` → `cache`, `src/driver.ts` → `driver`, `drivers/modbus/plan.ts` → `a driver`. */
function areaOf(path: string): string {
  if (path === 'drivers/index.ts') return DRIVERS;
  if (path.startsWith('drivers/')) return 'a driver';
  return path.replace(/^src\//, '').replace(/(\/.*|\.ts)$/, '');
}

function mayImport(from: string, to: string): boolean {
  const folder = (path: string) => path.split('/').slice(0, 2).join('/');
  if (folder(from) === folder(to)) return true; // its own area, and of the drivers only itself
  const allowed = MAY_IMPORT[areaOf(from)] ?? [];
  return allowed.includes(to) || allowed.includes(areaOf(to));
}

/** Node of the syntax tree → its field that holds a module's name. */
const MODULE_NAME: Record<string, string> = {
  ImportDeclaration: 'source',
  ExportNamedDeclaration: 'source',
  ExportAllDeclaration: 'source',
  TsImportType: 'argument', // import('./x.ts').T
};

/** What a source imports, by any syntax, types included; and whether it says `any`. */
function factsOf(source: string): { imports: string[]; usesAny: boolean } {
  const facts = { imports: [] as string[], usesAny: false };
  const visit = (node: Record<string, unknown>): void => {
    const type = String(node.type);
    let name = node[MODULE_NAME[type] ?? ''] as { value?: string } | null | undefined;
    if (type === 'CallExpression' && (node.callee as { type: string }).type === 'Import') {
      name = (node.arguments as { expression: { value?: string } }[])[0]?.expression;
    }
    if (typeof name?.value === 'string') facts.imports.push(name.value);
    if (type === 'TsKeywordType' && node.kind === 'any') facts.usesAny = true;
    for (const child of Object.values(node)) {
      if (typeof child === 'object' && child !== null) visit(child as Record<string, unknown>);
    }
  };
  visit(parseSync(source, { syntax: 'typescript', target: 'es2022' }) as unknown as Record<string, unknown>);
  return facts;
}

/** A cycle among the imports as `[a, b, a]`, or undefined. */
function findCycle(imports: Map<string, string[]>): string[] | undefined {
  const done = new Set<string>();
  const walk = (file: string, path: string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    done.add(file);
    for (const next of imports.get(file) ?? []) {
      const cycle = walk(next, [...path, file]);
      if (cycle) return cycle;
    }
    return undefined;
  };
  for (const file of imports.keys()) {
    const cycle = walk(file, []);
    if (cycle) return cycle;
  }
  return undefined;
}

const sources = new Map(
  ['src', 'drivers']
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => [relative(root, file), readFileSync(file, 'utf8')]),
);
const facts = new Map([...sources].map(([path, source]) => [path, factsOf(source)]));
const imports = new Map(
  [...facts].map(([path, { imports }]) => [
    path,
    imports.filter((name) => name.startsWith('.')).map((name) => normalize(join(dirname(path), name))),
  ]),
);
const lines = (source: string) => source.trimEnd().split('\n').length;

describe('the code', () => {
  test('has no area without a rule', () => {
    expect([...new Set([...sources.keys()].map(areaOf))].filter((area) => !(area in MAY_IMPORT))).toEqual([]);
  });

  test('imports in one direction', () => {
    const wrong = [...imports].flatMap(([from, tos]) =>
      tos.filter((to) => !mayImport(from, to)).map((to) => `${from} must not import ${to}`),
    );
    expect(wrong).toEqual([]);
  });

  test('has no import cycle', () => {
    expect(findCycle(imports)).toBeUndefined();
  });

  test(`keeps files under ${LINES_MAX} lines, unless there is a reason`, () => {
    const long = [...sources].filter(([, source]) => lines(source) > LINES_MAX).map(([path]) => path);
    expect(long.sort()).toEqual(Object.keys(LONG_FILES).sort());
  });

  test('keeps files short in the median', () => {
    const sorted = [...sources.values()].map(lines).sort((a, b) => a - b);
    expect(sorted[sorted.length >> 1] ?? 0).toBeLessThanOrEqual(LINES_MEDIAN_MAX);
  });

  test('has no drawer for odds and ends', () => {
    const drawer = /(^|[-._])(utils?|helpers?|managers?|misc)\b/i;
    expect([...sources.keys()].filter((path) => path.split('/').some((part) => drawer.test(part)))).toEqual([]);
  });

  test('never says any', () => {
    expect([...facts].filter(([, { usesAny }]) => usesAny).map(([path]) => path)).toEqual([]);
  });
});

describe('these rules', () => {
  test('see every kind of import, and only imports', () => {
    const source = `
      import a from './a.ts';
      import type { B } from './b.ts';
      export { c } from './c.ts';
      export type * from './d.ts';
      const e = await import('./e.ts');
      type F = import('./f.ts').F;
      import './g.ts';
      const text = "import x from './no.ts'"; // import y from './no.ts'
    `;
    expect(factsOf(source).imports).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => `./${name}.ts`));
  });

  test('see any in types, and only there', () => {
    expect(factsOf('const x: Map<string, any[]> = y;').usesAny).toBe(true);
    expect(factsOf('const any = "any";').usesAny).toBe(false);
  });

  test.each([
    ['src/cli/run.ts', 'src/gateway.ts', true],
    ['src/gateway.ts', 'drivers/index.ts', true],
    ['src/ingest/runner.ts', 'src/cache/hot.ts', true],
    ['src/ingest/runner.ts', 'src/pipeline/validate.ts', false],
    ['src/cache/worker.ts', 'src/uplink/send.ts', false],
    ['src/hmi/topics.ts', 'src/gateway.ts', false],
    ['src/wire/codec.ts', 'src/reading.ts', true],
    ['src/wire/codec.ts', 'src/runtime/clock.ts', false],
    ['src/config/schema.ts', 'drivers/index.ts', false],
    ['drivers/modbus/plan.ts', 'drivers/modbus/frame.ts', true],
    ['drivers/modbus/plan.ts', 'drivers/mqtt/topic.ts', false],
    ['drivers/modbus/index.ts', 'src/config/fields.ts', true],
    ['drivers/modbus/index.ts', 'src/config/load.ts', false],
  ])('know whether %s may import %s: %s', (from, to, expected) => {
    expect(mayImport(from, to)).toBe(expected);
  });

  test('find a cycle and name it', () => {
    const cyclic = new Map([
      ['x', ['a']],
      ['a', ['b']],
      ['b', ['c', 'a']],
    ]);
    expect(findCycle(cyclic)).toEqual(['a', 'b', 'a']);
    cyclic.set('b', ['c']);
    expect(findCycle(cyclic)).toBeUndefined();
  });

  test('want a reason for each exception', () => {
    expect(Object.entries(LONG_FILES).filter(([, reason]) => reason.trim().length < 20)).toEqual([]);
  });
});
