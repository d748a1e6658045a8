/**
 * Keys on disk. A gateway has one file, `device.key` (0600), and says `device.json`: what its cloud must know of it. A cloud
 * has `cloud.key` (0600), and says `cloud.pub`: what its gateways must know of it. `cache.key` (0600) encrypts a cache.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeAtRestKey } from '../cache/index.ts';
import { SluiceError } from '../errors.ts';
import { hex } from '../wire/bytes.ts';
import {
  formatCloudKey,
  formatCloudPublic,
  formatDeviceKey,
  generateCloudKey,
  generateDeviceKey,
  toPublic,
} from '../wire/keys.ts';
import { Exit, type ExitCode } from './exit.ts';
import type { Output } from './output.ts';

const SECRET_MODE = 0o600;
const PUBLIC_MODE = 0o644;

export interface KeygenCommand {
  readonly cloud?: boolean;
  readonly cache?: boolean;
  readonly dir: string;
  readonly name: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

export async function keygen(options: KeygenCommand, output: Output): Promise<ExitCode> {
  if (options.cache === true) return cacheKey(options, output);
  const files = options.cloud === true ? cloudFiles() : deviceFiles(options.name);
  const written = writeKeys(options.dir, files, options.force === true);
  if (options.json === true) {
    output.json({ secret: written.secret, public: written.public, ...files.facts });
    return Exit.fine;
  }
  output.line(`${written.secret}   secret: keep it on this machine, mode 0600`);
  output.line(`${written.public}   public: ${files.use}`);
  return Exit.fine;
}

function cacheKey({ dir, force, json }: KeygenCommand, output: Output): ExitCode {
  const secret = writeSecret(dir, ['cache.key', makeAtRestKey()], force === true);
  if (json === true) output.json({ secret });
  else output.line(`${secret}   secret: name it in cache.encryptAtRest.key; without it what is encrypted is lost`);
  return Exit.fine;
}

type KeyFile = readonly [name: string, text: string];

interface KeyFiles {
  readonly secret: KeyFile;
  readonly public: KeyFile;
  readonly use: string;
  readonly facts: Readonly<Record<string, string>>;
}

function deviceFiles(name: string): KeyFiles {
  const key = generateDeviceKey();
  const facts = { device: hex(key.device), name, publicKey: hex(key.publicKey) };
  return {
    secret: ['device.key', formatDeviceKey(key)],
    public: ['device.json', `${JSON.stringify([facts], null, 2)}\n`],
    use: "put its entry into the cloud's list of devices (sluice cloud --devices)",
    facts,
  };
}

function cloudFiles(): KeyFiles {
  const key = generateCloudKey();
  return {
    secret: ['cloud.key', formatCloudKey(key)],
    public: ['cloud.pub', formatCloudPublic(toPublic(key))],
    use: 'copy it to each gateway (uplink.keys.cloud)',
    facts: { recipient: hex(key.recipient.publicKey) },
  };
}

/** @throws usage.keys_exist when a secret is there already and may not be replaced. */
export function writeKeys(dir: string, files: KeyFiles, force: boolean): { secret: string; public: string } {
  const secret = writeSecret(dir, files.secret, force);
  const open = join(dir, files.public[0]);
  writeFileSync(open, files.public[1], { mode: PUBLIC_MODE });
  return { secret, public: open };
}

function writeSecret(dir: string, [name, text]: KeyFile, force: boolean): string {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const secret = join(dir, name);
  if (!force && existsSync(secret)) {
    throw new SluiceError('usage.keys_exist', 'stop', `${secret} is there already`, {
      hint: 'what was sealed to the old key can be opened only with it; --force replaces it all the same',
    });
  }
  // Made new: an existing file would keep its mode, whatever that is.
  rmSync(secret, { force: true });
  writeFileSync(secret, text, { mode: SECRET_MODE, flag: 'wx' });
  return secret;
}
