// The description of the API says what there is: every path, and the shape of what it really answers.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AccessTokens } from '../../src/cloud/access/tokens.ts';
import { OPENAPI } from '../../src/cloud/api/openapi/document.ts';
import { openDatabase } from '../../src/cloud/database.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { CLASS } from '../../src/wire/classes.ts';
import { NOW_MS, Stand } from './cloud.ts';
import { block, polls, START_MS } from './gateway.ts';

// biome-ignore lint/suspicious/noExplicitAny: a document of JSON
type Json = any;
const document: Json = OPENAPI;
const CLOUD = fileURLToPath(new URL('../../src/cloud', import.meta.url));

/** `GET /v1/forget/{id}` of every route that the sources register. */
function registered(): string[] {
  const files = readdirSync(CLOUD, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  return files.flatMap((name) => {
    const source = readFileSync(join(CLOUD, name), 'utf8');
    const routes = [
      ...source.matchAll(/api\.route\(\s*'(\w+)', '([^']+)'/g),
      ...source.matchAll(/(?:app|scope)\.(get|post)\('([^']+)'/g),
    ];
    return routes.map(([, method = '', path = '']) => `${method.toUpperCase()} ${path.replace(/:(\w+)/g, '{$1}')}`);
  });
}

const described = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.keys(methods as object).map((method) => `${method.toUpperCase()} ${path}`),
);

/** What of a value is not as the schema says. */
function faults(schema: Json, value: Json, at = ''): string[] {
  if (schema.$ref !== undefined) return faults(resolve(schema.$ref), value, at);
  if (schema.const !== undefined) return value === schema.const ? [] : [`${at} is not ${schema.const}`];
  if (schema.enum !== undefined) return schema.enum.includes(value) ? [] : [`${at} is ${value}`];
  const types = [schema.type ?? []].flat();
  if (types.length > 0 && !types.some((type: string) => isOf(type, value)))
    return [`${at} is no ${types.join(' or ')}`];
  if (Array.isArray(value)) return value.flatMap((item, i) => faults(schema.items ?? {}, item, `${at}[${i}]`));
  if (value === null || typeof value !== 'object') return [];
  const missing = (schema.required ?? [])
    .filter((name: string) => !(name in value))
    .map((name: string) => `${at}.${name} is missing`);
  const inside = Object.entries(value).flatMap(([name, of]) => {
    const known = schema.properties?.[name] ?? schema.additionalProperties;
    return known === false ? [`${at}.${name} is not described`] : faults(known ?? {}, of, `${at}.${name}`);
  });
  return [...missing, ...inside];
}

function isOf(type: string, value: Json): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'object') return value !== null && typeof value === 'object' && !Array.isArray(value);
  return typeof value === type;
}

function resolve(ref: string): Json {
  return ref
    .slice(2)
    .split('/')
    .reduce((of, name) => of?.[name], document);
}

test('every route is described, and nothing else is', () => {
  expect(registered().length).toBeGreaterThan(20);
  expect(described.sort()).toEqual([...new Set(registered())].sort());
});

test('every reference leads somewhere, every part of a path is explained, every operation has its role and its errors', () => {
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = '']) => ref);
  expect(refs.length).toBeGreaterThan(20);
  expect(refs.filter((ref) => resolve(ref) === undefined)).toEqual([]);
  for (const [path, methods] of Object.entries<Json>(document.paths)) {
    const parts = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    for (const operation of Object.values<Json>(methods)) {
      const named = (operation.parameters ?? []).filter((parameter: Json) => parameter.in === 'path');
      expect(named.map(({ name }: Json) => name)).toEqual(parts);
      expect(operation.responses.default).toEqual({ $ref: '#/components/responses/Error' });
      expect(operation.security.length === 0 || operation.summary.endsWith(`(${operation.security[0].token[0]})`)).toBe(
        true,
      );
    }
  }
});

describe('what is answered is what is described:', () => {
  let stand: Stand;
  let admin: string;
  beforeAll(async () => {
    stand = new Stand();
    const db = openDatabase(stand.dataDir);
    admin = new AccessTokens(db, systemClock).add('root', 'admin');
    db.close();
    await stand.start({ clock: { ...systemClock, wallMs: () => NOW_MS } });
    const { gateway } = stand;
    const alarm = {
      type: 'ALARM',
      id: 'a',
      tag: 'boiler/energy',
      condition: 'hi',
      state: 'raised',
      at: START_MS,
      text: 'high',
    };
    const gap = gateway.gap([{ from: 5001, to: 5002 }]);
    await stand.deliver(
      gateway.seal([
        gateway.records([gateway.runOpen(), ...gateway.tagRows(), gap, gateway.settled(6000)], 1),
        gateway.records([alarm], 1, CLASS.alarm),
        gateway.readings(block(polls(20), 1)),
      ]),
    );
  });
  afterAll(() => stand.end());

  const span = `from=${START_MS}&to=${START_MS + 60_000}`;
  test.each<[string, string, string, object | undefined]>([
    ['GET', '/v1/readings', `?tag=*&${span}`, undefined],
    ['GET', '/v1/latest', '', undefined],
    ['GET', '/v1/windows', `?tag=*&points=3&${span}`, undefined],
    ['GET', '/v1/digest', '?gateway=line3', undefined],
    ['GET', '/v1/devices', '', undefined],
    ['GET', '/v1/alarms', '', undefined],
    ['POST', '/v1/alarms/{id}/close', '1', { by: 'anna' }],
    ['POST', '/v1/access', '', { name: 'x', role: 'reader' }],
    ['GET', '/v1/access', '', undefined],
    ['DELETE', '/v1/access/{name}', 'x', undefined],
    ['GET', '/v1/audit', '', undefined],
    ['POST', '/v1/forget', '', { gateway: 'line3', tag: 'boiler/pump_on' }],
    ['GET', '/v1/forget', '', undefined],
    ['GET', '/v1/forget/{id}', '1', undefined],
    ['GET', '/healthz', '', undefined],
  ])('%s %s', async (method, path, rest, body) => {
    const url = stand.url + (path.includes('{') ? path.replace(/\{\w+\}/, rest) : path + rest);
    const response = await fetch(url, {
      method,
      headers: { authorization: `Bearer ${admin}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    });
    const operation = document.paths[path][method.toLowerCase()];
    const said = operation.responses[response.status];
    expect(said).toBeDefined();
    const answer = await response.json();
    expect(faults(said.content['application/json'].schema, answer)).toEqual([]);
    // Not by being empty.
    for (const filled of Object.values<Json>(answer as object))
      if (Array.isArray(filled)) expect(filled).not.toEqual([]);
  });

  test('an error', async () => {
    const { json } = await stand.ask('/v1/readings', admin);
    expect(faults(document.components.schemas.Error, json)).toEqual([]);
  });

  test('and the check sees what is wrong', () => {
    const { Error: error } = document.components.schemas;
    expect(faults(error, { code: 1, message: 'm', more: 1 })).toEqual([
      '.hint is missing',
      '.code is no string',
      '.more is not described',
    ]);
  });
});
