/**
 * Keys on disk. A gateway has one file, `device.key` (0600), and says `device.json`: what its cloud must know of it. A cloud
 * has `cloud.key` (0600), and says `cloud.pub`: what its gateways must know of it. `root.key` (0600), kept offline, signs lists of a
 * cloud's keys, and says `root.pub`. `cache.key` (0600) encrypts a cache.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeAtRestKey } from '../cache/index.ts';
import { SluiceError } from '../errors.ts';
import { readSecretFile } from '../runtime/credentials.ts';
import { SECRET_MODE, writePair, writeWhole } from '../runtime/safe-write.ts';
import { hex } from '../wire/bytes.ts';
import { cloudFiles, deviceFiles, type KeyFiles, rootFiles } from '../wire/keyfiles.ts';
import { rootHash } from '../wire/keylist.ts';
import {
  type CloudKey,
  generateCloudKey,
  generateDeviceKey,
  generateRootKey,
  parseCloudKey,
  retirePrevious,
} from '../wire/keys.ts';
import { Exit, type ExitCode } from './exit.ts';
import type { Output } from './output.ts';

export interface KeygenCommand {
  readonly cloud?: boolean;
  readonly root?: boolean;
  readonly cache?: boolean;
  readonly rotate?: boolean;
  readonly retire?: boolean;
  readonly config: string;
  readonly out?: string;
  readonly dir: string;
  readonly name: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

export async function keygen(options: KeygenCommand, output: Output): Promise<ExitCode> {
  const kinds = [options.cloud, options.root, options.cache].filter((kind) => kind === true);
  if (kinds.length > 1) throw new SluiceError('usage.keygen', 'stop', 'one of --cloud, --root and --cache');
  if (options.cache === true) return cacheKey(options, output);
  const isNext = options.rotate === true || options.retire === true;
  if (isNext && options.cloud !== true) {
    if (options.root === true || options.retire === true) {
      throw new SluiceError('usage.keygen', 'stop', '--rotate is for a gateway or with --cloud, --retire with --cloud');
    }
    return (await import('./rotate.ts')).rotate(options, output);
  }
  const made = madeBy(options);
  requireFree(join(options.dir, made.files.secret[0]), options.force === true && !isNext);
  const written = writePair(options.dir, made.files);
  if (options.json === true) {
    output.json({ secret: written.secret, public: written.public, ...made.facts });
    return Exit.fine;
  }
  output.line(`${written.secret}   secret: ${made.keep}, mode 0600`);
  output.line(`${written.public}   public: ${made.use}`);
  return Exit.fine;
}

function cacheKey({ dir, force, json }: KeygenCommand, output: Output): ExitCode {
  const secret = join(dir, 'cache.key');
  requireFree(secret, force === true);
  writeWhole(secret, makeAtRestKey(), SECRET_MODE);
  if (json === true) output.json({ secret });
  else output.line(`${secret}   secret: name it in cache.encryptAtRest.key; without it what is encrypted is lost`);
  return Exit.fine;
}

interface Made {
  readonly files: KeyFiles;
  readonly keep: string;
  readonly use: string;
  readonly facts: Readonly<Record<string, string | number>>;
}

const KEEP_HERE = 'keep it on this machine';

function madeBy(options: KeygenCommand): Made {
  if (options.root === true) return madeRoot();
  return options.cloud === true ? madeCloud(options) : madeDevice(options.name);
}

function madeDevice(name: string): Made {
  const key = generateDeviceKey();
  return {
    files: deviceFiles(key, name),
    keep: KEEP_HERE,
    use: "put its entry into the cloud's list of devices (sluice cloud --devices)",
    facts: { device: hex(key.device), name, publicKey: hex(key.publicKey) },
  };
}

function madeRoot(): Made {
  const key = generateRootKey();
  return {
    files: rootFiles(key),
    keep: 'keep it offline, and a copy; whoever has it can pass for your cloud',
    use: "gateways that enrol get it; it can stand in uplink.keys.cloud in a cloud.pub's place",
    facts: { root: hex(key.publicKey), hash: hex(rootHash(key.publicKey)) },
  };
}

function madeCloud({ dir, rotate, retire }: KeygenCommand): Made {
  const key = rotate === true || retire === true ? nextCloud(newestCloud(dir), retire === true) : generateCloudKey();
  const files = cloudFiles(key);
  const use =
    key.version === 1
      ? 'copy it to each gateway (uplink.keys.cloud), or sign it: sluice cloud keys --root root.key --cloud cloud.pub --out cloud.list'
      : `sign it: sluice cloud keys --root root.key --cloud ${files.public[0]} --out cloud-${key.version}.list; then start the cloud with both`;
  return { files, keep: KEEP_HERE, use, facts: { recipient: hex(key.recipient.publicKey), version: key.version } };
}

function nextCloud(key: CloudKey, retire: boolean): CloudKey {
  return retire ? retirePrevious(key) : generateCloudKey(key);
}

/** Of `cloud.key`, `cloud-2.key`, … */
function newestCloud(dir: string): CloudKey {
  const names = existsSync(dir) ? readdirSync(dir).filter((name) => /^cloud(-\d+)?\.key$/.test(name)) : [];
  const keys = names.map((name) => parseCloudKey(readSecretFile(join(dir, name))));
  const newest = keys.sort((a, b) => b.version - a.version)[0];
  if (newest !== undefined) return newest;
  throw new SluiceError('usage.no_keys', 'stop', `there is no cloud.key in ${dir}`, {
    hint: 'make the first with sluice keygen --cloud',
  });
}

/** @throws usage.keys_exist when a secret is there already and may not be replaced. */
function requireFree(secret: string, force: boolean): void {
  if (force || !existsSync(secret)) return;
  throw new SluiceError('usage.keys_exist', 'stop', `${secret} is there already`, {
    hint: 'what was sealed to the old key can be opened only with it; --force replaces it all the same',
  });
}
