/**
 * The config's JSON Schema: published for editors, and used here to know which settings exist at a path (for "did you
 * mean"), which types a value may have, and which strings are file names.
 */
import { isAbsolute, resolve } from 'node:path';
import { z } from 'zod';
import type { Driver } from '../driver.ts';
import { FILE_PATH_FORMAT } from './fields.ts';
import type { Path } from './findings.ts';
import { configSchema, sourceSchema } from './schema.ts';

/** What `${credential:…}` leaves where a file may be named: the file's content itself, JSON, PEM, or 32 bytes in hex or base64. */
const CONTENT = /^\s*(\{|-----BEGIN |[0-9a-fA-F]{64}\s*$|[A-Za-z0-9+/]{43}=\s*$)/;

export interface JsonSchema {
  readonly [key: string]: unknown;
}

/** Of everything that may stand in the file, the drivers' settings included. */
export function jsonSchema(drivers: Iterable<Driver>): JsonSchema {
  const whole = inputSchema(configSchema);
  const common = inputSchema(sourceSchema);
  const sources = [...drivers].flatMap((driver) =>
    alternatives(inputSchema(driver.schema)).map((settings) => ({
      ...settings,
      title: `${driver.name} source`,
      properties: { ...record(common.properties), driver: { const: driver.name }, ...record(settings.properties) },
      required: ['driver', ...strings(settings.required)],
    })),
  );
  const properties = record(whole.properties);
  return {
    ...whole,
    title: 'sluice.yaml',
    properties: { ...properties, sources: { ...record(properties.sources), additionalProperties: { oneOf: sources } } },
  };
}

function inputSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
}

/** The schemas that may apply at `path`, given the value of the whole: of a union, those that its constants admit. */
export function schemasAt(schema: JsonSchema, value: unknown, path: Path): JsonSchema[] {
  let found = fitting(schema, value);
  let here = value;
  for (const step of path) {
    here = (here as Record<string | number, unknown> | null | undefined)?.[step];
    found = found.flatMap((each) => childSchemas(each, step)).flatMap((each) => fitting(each, here));
  }
  return found;
}

/** The settings that exist at `path`. */
export function keysAt(schema: JsonSchema, value: unknown, path: Path): string[] {
  return [...new Set(schemasAt(schema, value, path).flatMap((each) => Object.keys(record(each.properties))))];
}

/** The JSON types that a value at `path` may have. */
export function typesAt(schema: JsonSchema, value: unknown, path: Path): Set<string> {
  return new Set(schemasAt(schema, value, path).flatMap((each) => strings([each.type].flat())));
}

/** A copy of `value` with all file names absolute. */
export function resolvePaths<T>(schema: JsonSchema, value: T, folder: string): T {
  const walk = (node: unknown, schemas: readonly JsonSchema[]): unknown => {
    if (typeof node === 'string') {
      const isPath = schemas.some((each) => each.format === FILE_PATH_FORMAT);
      return isPath && !isAbsolute(node) && !CONTENT.test(node) ? resolve(folder, node) : node;
    }
    const below = (step: string | number, child: unknown) =>
      walk(
        child,
        schemas.flatMap((each) => childSchemas(each, step)).flatMap((each) => fitting(each, child)),
      );
    if (Array.isArray(node)) return node.map((child, i) => below(i, child));
    if (typeof node !== 'object' || node === null || Object.getPrototypeOf(node) !== Object.prototype) return node;
    return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, below(key, child)]));
  };
  return walk(value, fitting(schema, value)) as T; // only strings were replaced, by strings
}

function childSchemas(schema: JsonSchema, step: string | number): JsonSchema[] {
  if (typeof step === 'number')
    return [
      ...(Array.isArray(schema.prefixItems) ? schema.prefixItems.slice(step, step + 1) : []),
      schema.items,
    ].filter(isSchema);
  const named = record(schema.properties)[step];
  return [isSchema(named) ? named : schema.additionalProperties].filter(isSchema);
}

function alternatives(schema: JsonSchema): JsonSchema[] {
  const options = [schema.anyOf, schema.oneOf, schema.allOf]
    .flatMap((list) => (Array.isArray(list) ? list : []))
    .filter(isSchema);
  return options.length === 0 ? [schema] : options.flatMap(alternatives);
}

/** Without the alternatives that say by a constant that they mean something else. */
function fitting(schema: JsonSchema, value: unknown): JsonSchema[] {
  const all = alternatives(schema);
  const fit = all.filter((each) =>
    Object.entries(record(each.properties)).every(([key, property]) => {
      const given = (value as Record<string, unknown> | null | undefined)?.[key];
      return !isSchema(property) || property.const === undefined || given === undefined || property.const === given;
    }),
  );
  return fit.length === 0 ? all : fit;
}

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function record(value: unknown): JsonSchema {
  return isSchema(value) ? value : {};
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}
