import { drivers } from '../../drivers/index.ts';
import { type CacheReader, keyWornText, readCache } from '../cache/index.ts';
import { type Finding, formatFinding } from '../config/findings.ts';
import { jsonSchema } from '../config/json-schema.ts';
import type { Config } from '../config/load.ts';
import { Exit, type ExitCode } from './exit.ts';
import type { Output } from './output.ts';
import { usableConfig } from './usable-config.ts';

export interface CheckCommand {
  readonly config: string;
  readonly schema?: boolean;
  readonly json?: boolean;
}

export async function check(options: CheckCommand, output: Output): Promise<ExitCode> {
  if (options.schema === true) {
    output.json(jsonSchema(drivers));
    return Exit.fine;
  }
  const { config, findings } = usableConfig(options.config);
  if (config === undefined) {
    if (options.json === true) output.json({ ok: false, findings });
    else printFindings(options.config, findings, output);
    return Exit.usage;
  }
  const facts = config.sources.map((source) => ({
    source: source.name,
    driver: source.driver,
    endpoint: source.prepared.endpoint,
    groups: source.prepared.groups.length,
    tags: source.prepared.groups.reduce((sum, group) => sum + group.tags.length, 0),
  }));
  const notes = notesOn(config);
  if (options.json === true) {
    output.json({ ok: true, gateway: config.gateway.id, sources: facts, uplink: config.uplink?.url ?? null, notes });
    return Exit.fine;
  }
  output.line(`${options.config} is fine: gateway ${config.gateway.id}, ${facts.length} sources`);
  for (const { source, driver, endpoint, tags } of facts) {
    output.line(`  ${source}  ${driver}  ${endpoint}  ${tags === 0 ? 'tags register themselves' : `${tags} tags`}`);
  }
  output.line(
    config.uplink === undefined ? '  no uplink: readings stay on this disk' : `  delivers to ${config.uplink.url}`,
  );
  for (const note of notes) output.line(`  note: ${note}`);
  return Exit.fine;
}

/** What is allowed and should be known. */
function notesOn({ cache: { encryptAtRest: atRest, path } }: Config): string[] {
  if (atRest?.key !== undefined) return [keyWornIn(path)].flatMap((text) => text ?? []);
  return [
    `readings on the disk are not encrypted: who holds it can read ${path}; cache.encryptAtRest, a key from sluice keygen --cache`,
  ];
}

/** Of the cache that is there; a configuration is also checked where there is none. */
function keyWornIn(path: string): string | undefined {
  let cache: CacheReader | undefined;
  try {
    cache = readCache(path);
    return keyWornText(cache.atRestKey());
  } catch {
    return undefined; // the start says what is wrong with it
  } finally {
    cache?.close();
  }
}

export function printFindings(file: string, findings: readonly Finding[], output: Output): void {
  for (const finding of findings) output.problem(formatFinding(finding));
  output.problem(
    `${file} has ${findings.length === 1 ? 'one fault' : `${findings.length} faults`}; nothing was started`,
  );
}
