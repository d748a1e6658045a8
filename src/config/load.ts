/**
 * From the file to the Config: read, parse, fill in `${…}`, check against the schemas of the sections and of each
 * source's driver, let each driver plan its tags. Everything that is wrong is reported at once; nothing is started.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { z } from 'zod';
import type { Driver, PreparedSource } from '../driver.ts';
import { asError, codeOf, isSluiceError } from '../errors.ts';
import { ConfigInvalid, type Finding, type Path, pathText } from './findings.ts';
import { type Environment, Interpolation } from './interpolate.ts';
import { type Fault, faultsOf, valueAt, wrongChoice } from './issues.ts';
import { type JsonSchema, jsonSchema, keysAt, resolvePaths, typesAt } from './json-schema.ts';
import { configSchema, type SourceSettings, sourceSchema } from './schema.ts';
import { checkTags, type TagFault, withoutTag } from './tags.ts';
import { YamlText } from './yaml.ts';

/** One source, checked and planned. Durations are milliseconds. */
export interface SourceConfig extends SourceSettings {
  readonly name: string;
  readonly driver: string;
  readonly prepared: PreparedSource;
}

type Sections = z.output<typeof configSchema>;

/** Read-only. Durations are milliseconds, sizes bytes, file names absolute. */
export interface Config extends Readonly<Omit<Sections, 'sources'>> {
  /** The file it came from. */
  readonly file: string;
  readonly sources: readonly SourceConfig[];
  /** Values that no log may show. */
  readonly secrets: readonly string[];
}

/** 10,000 tags with all their fields are 3 MB. */
const FILE_BYTES_MAX = 32 * 1024 * 1024;
/** More of one kind say nothing new. */
const PLAN_FAULTS_MAX = 100;

export type { Fault } from './issues.ts';

/** What else is wrong with it, by those who know: files that it names and that cannot be used. */
export type Inspection = (config: Config) => readonly Fault[];

/**
 * @param inspect asked once the sections can be used; what it finds is reported with everything else.
 * @throws SluiceError `config.invalid` (a `ConfigInvalid` with all findings).
 */
export function loadConfig(
  path: string,
  drivers: Iterable<Driver>,
  env: Environment = process.env,
  inspect: Inspection = () => [],
): Config {
  const { config, findings } = new Loading(path, drivers, env, inspect).run();
  if (config === undefined) throw new ConfigInvalid(findings);
  return config;
}

/** Everything that is wrong with the file, in its order; nothing when it can be used. */
export function checkConfig(
  path: string,
  drivers: Iterable<Driver>,
  env: Environment = process.env,
): readonly Finding[] {
  return new Loading(path, drivers, env, () => []).run().findings;
}

class Loading {
  readonly #file: string;
  readonly #drivers: ReadonlyMap<string, Driver>;
  readonly #interpolation: Interpolation;
  readonly #schema: JsonSchema;
  readonly #inspect: Inspection;
  readonly #findings: Finding[] = [];
  #yaml = new YamlText('');
  #value: unknown;
  /** Paths (as JSON) of strings whose value is not known: nothing more can be said of them. */
  readonly #unfilled = new Set<string>();

  constructor(path: string, drivers: Iterable<Driver>, env: Environment, inspect: Inspection) {
    this.#inspect = inspect;
    this.#file = resolve(path);
    this.#drivers = new Map([...drivers].map((driver) => [driver.name, driver]));
    this.#interpolation = new Interpolation(dirname(this.#file), env);
    this.#schema = jsonSchema(this.#drivers.values());
  }

  run(): { config?: Config; findings: readonly Finding[] } {
    const config = this.#read() ? this.#check() : undefined;
    const findings = this.#findings
      .map((finding) => this.#withoutSecrets(finding))
      .sort((a, b) => a.line - b.line || a.column - b.column);
    return config === undefined || findings.length > 0 ? { findings } : { config, findings };
  }

  /** File → values; false when there is nothing to check. */
  #read(): boolean {
    const text = this.#readFile();
    if (text === undefined) return false;
    this.#yaml = new YamlText(text);
    for (const { reason, line, column } of this.#yaml.faults)
      this.#findings.push({ path: '', reason, file: this.#file, line, column });
    if (!this.#yaml.readable) return false;
    const failed = this.#yaml.replaceStrings((string, path) => this.#interpolation.replace(string, path));
    for (const { path, thrown } of failed) {
      this.#report({ path, reason: `cannot be filled in: ${messageOf(thrown)}` });
      this.#unfilled.add(JSON.stringify(path));
    }
    try {
      this.#value = this.#yaml.toValue() ?? {};
    } catch (thrown) {
      this.#report({ path: [], reason: `is not usable: ${asError(thrown).message}` });
      return false;
    }
    for (const path of this.#interpolation.replaced) this.#convert(JSON.parse(path) as Path); // written by Interpolation
    return true;
  }

  #readFile(): string | undefined {
    try {
      if (statSync(this.#file).size <= FILE_BYTES_MAX) return readFileSync(this.#file, 'utf8');
      this.#report({ path: [], reason: `is larger than ${FILE_BYTES_MAX} bytes: this is no config` });
    } catch (thrown) {
      this.#report({ path: [], reason: `the file cannot be read (${codeOf(thrown)})` });
    }
    return undefined;
  }

  /** What came from `${…}` is a string; where the setting wants a number or a boolean, it becomes one. */
  #convert(path: Path): void {
    const value = valueAt(this.#value, path);
    const parent = valueAt(this.#value, path.slice(0, -1)) as Record<string | number, unknown> | undefined;
    const types = typesAt(this.#schema, this.#value, path);
    const last = path.at(-1);
    if (
      typeof value !== 'string' ||
      value.trim() === '' ||
      parent === undefined ||
      last === undefined ||
      types.has('string')
    )
      return;
    if ((types.has('number') || types.has('integer')) && Number.isFinite(Number(value))) parent[last] = Number(value);
    if (types.has('boolean') && /^(true|false)$/.test(value)) parent[last] = value === 'true';
  }

  #check(): Config | undefined {
    const sections = this.#parse(configSchema, this.#value, []);
    // Sources are checked even when a section is wrong: all findings at once.
    const named = valueAt(this.#value, ['sources']);
    const isMap = typeof named === 'object' && named !== null && !Array.isArray(named);
    const sources = Object.entries(isMap ? named : {}).map(([name, settings]) => this.#checkSource(name, settings));
    const planned = sources.filter((source) => source !== undefined);
    if (sections === undefined) return undefined;
    const tags = planned.reduce(
      (sum, { prepared }) => sum + prepared.groups.reduce((each, group) => each + group.tags.length, 0),
      0,
    );
    if (tags > sections.pipeline.tagsMax) {
      this.#report({
        path: ['pipeline', 'tagsMax'],
        reason: `allows ${sections.pipeline.tagsMax} tags, and the sources have ${tags}`,
      });
    }
    const absolute = resolvePaths(this.#schema, sections, dirname(this.#file));
    const secrets = [...this.#interpolation.secrets];
    const config = { ...absolute, file: this.#file, sources: planned, secrets };
    for (const fault of this.#inspect(config)) this.#reportFilled(fault);
    return config;
  }

  #checkSource(name: string, settings: unknown): SourceConfig | undefined {
    const path = ['sources', name];
    if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) return undefined; // reported by the whole
    const { driver: driverName, ...rest } = settings as Record<string, unknown>; // an object, as just tested
    const driver = this.#drivers.get(String(driverName));
    if (driver === undefined) {
      this.#report(wrongChoice([...path, 'driver'], driverName, [...this.#drivers.keys()]));
      return undefined;
    }
    const commonKeys = Object.keys(sourceSchema.shape);
    const entries = Object.entries(rest);
    const common = this.#parse(
      sourceSchema,
      Object.fromEntries(entries.filter(([key]) => commonKeys.includes(key))),
      path,
    );
    const own = this.#parse(
      driver.schema,
      Object.fromEntries(entries.filter(([key]) => !commonKeys.includes(key))),
      path,
    );
    if (common === undefined || own === undefined) return undefined;
    const prepared = this.#prepare(driver, own, path);
    return prepared && { ...common, name, driver: driver.name, prepared };
  }

  /** A driver's plan stops at its first fault; without the tag at fault it finds the next one. */
  #prepare(driver: Driver, settings: unknown, path: Path): PreparedSource | undefined {
    let left: unknown = resolveBelow(this.#schema, this.#value, path, settings, dirname(this.#file));
    for (let faults = 0; faults < PLAN_FAULTS_MAX; faults++) {
      try {
        const prepared = driver.prepare(left);
        const seen = new Map<string, number>();
        for (const fault of checkTags(prepared)) this.#reportTag(path, fault, seen);
        return faults === 0 ? prepared : undefined;
      } catch (thrown) {
        const tag = isSluiceError(thrown) ? thrown.facts.tag : undefined;
        const at = typeof tag === 'string' ? this.#yaml.find(path, 'name', tag)[0] : undefined;
        this.#report({ path: at?.slice(0, -1) ?? path, reason: `cannot be used: ${messageOf(thrown)}` });
        left = typeof tag === 'string' ? withoutTag(left, tag) : undefined;
        if (left === undefined) return undefined;
      }
    }
    return undefined;
  }

  #parse<Schema extends z.ZodType>(schema: Schema, value: unknown, path: Path): z.output<Schema> | undefined {
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    const keys = (at: Path) => keysAt(this.#schema, this.#value, at);
    for (const fault of faultsOf(result.error.issues, this.#value, keys, path)) this.#reportFilled(fault);
    return undefined;
  }

  #reportFilled(fault: Fault): void {
    if (!this.#unfilled.has(JSON.stringify(fault.path))) this.#report(fault);
  }

  #reportTag(source: Path, { tag, setting, reason, repeated }: TagFault, seen: Map<string, number>): void {
    const occurrence = repeated === true ? (seen.get(tag) ?? 0) + 1 : 0;
    if (repeated === true) seen.set(tag, occurrence);
    const place = this.#yaml.find(source, 'name', tag)[occurrence];
    // Without `name: …` in the file the driver made the name up; then the source is as near as we get.
    if (place === undefined) this.#report({ path: source, reason: `has the tag ${tag}, whose ${setting} ${reason}` });
    else this.#report({ path: [...place.slice(0, -1), setting], reason });
  }

  #report({ path, reason, near, atKey }: Fault): void {
    const value = valueAt(this.#value, path);
    this.#findings.push({
      path: pathText(path),
      ...(value === undefined ? {} : { value }),
      reason,
      ...(near === undefined ? {} : { near }),
      file: this.#file,
      ...this.#yaml.place(path, atKey === true ? 'key' : 'value'),
    });
  }

  #withoutSecrets(finding: Finding): Finding {
    const secrets = [...this.#interpolation.secrets];
    const hide = (text: string) => secrets.reduce((hidden, secret) => hidden.replaceAll(secret, '[secret]'), text);
    const { value, ...rest } = finding;
    const shown =
      value === undefined
        ? {}
        : { value: hide(JSON.stringify(value) ?? '') === JSON.stringify(value) ? value : '[secret]' };
    return { ...rest, ...shown, reason: hide(finding.reason) };
  }
}

function messageOf(thrown: unknown): string {
  const hint = isSluiceError(thrown) && thrown.hint !== undefined ? `; ${thrown.hint}` : '';
  return `${asError(thrown).message}${hint}`;
}

/** File names within one source's settings, by the schema of its driver. */
function resolveBelow(schema: JsonSchema, whole: unknown, path: Path, settings: unknown, folder: string): unknown {
  const [, name = ''] = path;
  const source = valueAt(whole, path) as Record<string, unknown>; // a source that was just parsed
  const nested = { sources: { [name]: { ...(settings as object), driver: source.driver } } };
  const { driver: _, ...resolved } = resolvePaths(schema, nested, folder).sources[name] ?? {};
  return resolved;
}
