/** The configuration as the gateway will use it: with the keys on this disk looked at, too, before anything is started. */
import { drivers } from '../../drivers/index.ts';
import { atRestKeyFaults } from '../cache/index.ts';
import { type Finding, findingsOf } from '../config/findings.ts';
import { type Config, type Fault, loadConfig } from '../config/load.ts';
import { describe, isSluiceError } from '../errors.ts';
import { tlsFileFaults, uplinkKeyFaults } from '../uplink/index.ts';

interface Usable {
  readonly config: Config;
  readonly findings?: undefined;
}
interface Unusable {
  readonly config?: undefined;
  readonly findings: readonly Finding[];
}

/** @returns everything that is wrong with it, where something is. */
export function usableConfig(file: string): Usable | Unusable {
  try {
    return { config: loadConfig(file, drivers, process.env, unusableKeys) };
  } catch (thrown) {
    const findings = findingsOf(thrown);
    if (findings.length === 0) throw thrown;
    return { findings };
  }
}

function unusableKeys({ uplink, cache }: Config): Fault[] {
  const ofUplink = uplink === undefined ? [] : uplinkKeyFaults(uplink.keys);
  return [
    ...ofUplink.map(({ setting, error }) => fault(['uplink', 'keys', setting], error)),
    ...tlsFileFaults(uplink?.tls).map(({ setting, error }) => fault(['uplink', 'tls', setting], error)),
    ...atRestKeyFaults(cache.encryptAtRest).map(({ path, error }) => fault(['cache', 'encryptAtRest', ...path], error)),
  ];
}

function fault(path: Fault['path'], error: unknown): Fault {
  const hint = isSluiceError(error) && error.hint !== undefined ? `; ${error.hint}` : '';
  return { path, reason: `cannot be used: ${describe(error)}${hint}` };
}
