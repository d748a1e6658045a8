/**
 * `sluice enroll`: a place in a cloud's list of devices for a one-time token. The device key is on disk before anybody is told, so an
 * answer that is lost costs nothing: the same command again brings it.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type UplinkConfig, uplinkSchema } from '../config/uplink.ts';
import { SluiceError } from '../errors.ts';
import { systemClock } from '../runtime/clock.ts';
import { readCredential, readSecretFile, readSmallFile } from '../runtime/credentials.ts';
import { moveWhole, SECRET_MODE, writeWhole } from '../runtime/safe-write.ts';
import { enrolAt } from '../uplink/index.ts';
import { hex, sameBytes } from '../wire/bytes.ts';
import { type EnrolAnswer, type EnrolToken, parseToken } from '../wire/enrol.ts';
import { KEY_LIST_FILE } from '../wire/keyfiles.ts';
import { formatKeyList, openKeyList, parseKeyList } from '../wire/keylist.ts';
import { type DeviceKey, formatDeviceKey, formatRootPublic, generateDeviceKey, parseDeviceKey } from '../wire/keys.ts';
import { Exit, type ExitCode } from './exit.ts';
import type { Output } from './output.ts';

export interface EnrollCommand {
  readonly url: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly out: string;
  /** A key that is there already: its file, or the name of a systemd credential. */
  readonly key?: string;
  readonly credential?: string;
  readonly ca?: string;
  readonly allowInsecure?: boolean;
  readonly json?: boolean;
}

const KEY_FILE = 'device.key';
/** The new key until the cloud has taken it. */
const PENDING_FILE = 'device-enrolling.key';
const ROOT_FILE = 'root.pub';

interface OwnKey {
  readonly key: DeviceKey;
  /** How the configuration names it. */
  readonly setting: string;
  /** The cloud has taken it. */
  settle(): void;
}

export async function enroll(options: EnrollCommand, output: Output): Promise<ExitCode> {
  const token = tokenOf(options);
  const uplink = uplinkOf(options);
  const own = ownKey(options, token);
  const answer = await enrolAt(uplink, token, own.key, systemClock);
  const root = join(options.out, ROOT_FILE);
  const list = join(options.out, KEY_LIST_FILE);
  requireNewest(list, answer);
  writeWhole(list, formatKeyList(answer.list), SECRET_MODE);
  writeWhole(root, formatRootPublic(answer.root), SECRET_MODE);
  // Last: until then the same command does the same again.
  own.settle();
  print(options, own, answer, { root: resolve(root), list: resolve(list) }, output);
  return Exit.fine;
}

/** A box that was enrolled before may know a newer list than a cloud that went back. */
function requireNewest(file: string, { root, keys }: EnrolAnswer): void {
  if (!existsSync(file)) return;
  const before = openKeyList(parseKeyList(readSmallFile(file)));
  if (!sameBytes(before.root, root) || before.keys.version <= keys.version) return;
  throw new SluiceError('keylist.outdated', 'stop', `the cloud's key list is older than ${file}`, {
    hint: 'Is it the right cloud, and did it start with its newest list? Otherwise move the file away.',
  });
}

function print(
  { url, json }: EnrollCommand,
  { key, setting }: OwnKey,
  { name, keys }: EnrolAnswer,
  files: { readonly root: string; readonly list: string },
  output: Output,
): void {
  if (json === true) {
    output.json({ name, device: hex(key.device), keyList: keys.version, keys: { device: setting, cloud: files.root } });
    return;
  }
  output.line(`enrolled as ${name}, device ${hex(key.device)}; key list version ${keys.version}`);
  output.line('The configuration of the gateway:\n');
  output.line(`uplink:\n  url: ${url}\n  keys:\n    device: ${yaml(setting)}\n    cloud: ${yaml(files.root)}`);
}

/** A JSON string is one of YAML's. */
function yaml(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : JSON.stringify(text);
}

function tokenOf({ token, tokenFile }: EnrollCommand): EnrolToken {
  if ((token === undefined) === (tokenFile === undefined)) {
    throw new SluiceError('usage.token', 'stop', 'one of --token and --token-file');
  }
  try {
    return parseToken(token ?? readSecretFile(tokenFile ?? ''));
  } catch (cause) {
    if (tokenFile !== undefined) throw cause;
    throw new SluiceError('usage.token', 'stop', 'that is no enrolment token', {
      hint: 'Copy all of what `sluice cloud token` printed; a token begins with sluice-.',
      cause,
    });
  }
}

/** What the gateway's configuration will be held to, too: https:// to other machines, say. */
function uplinkOf({ url, ca, allowInsecure }: EnrollCommand): UplinkConfig {
  const keys = { device: KEY_FILE, cloud: ROOT_FILE };
  const parsed = uplinkSchema.safeParse({
    ...{ url, keys, allowInsecure: allowInsecure === true },
    ...(ca === undefined ? {} : { tls: { ca } }),
  });
  if (parsed.success) return parsed.data;
  const reason = parsed.error.issues[0]?.message.replace('say allowInsecure: true', 'say --allow-insecure');
  throw new SluiceError('usage.url', 'stop', `${url} cannot be used: ${reason}`);
}

function ownKey(options: EnrollCommand, token: EnrolToken): OwnKey {
  const { key: file, credential, out } = options;
  if (file !== undefined && credential !== undefined) {
    throw new SluiceError('usage.key', 'stop', 'one of --key and --credential');
  }
  if (credential !== undefined) {
    const text = readCredential(credential, process.env);
    return given(parseDeviceKey(text), token, `\${credential:${credential}}`);
  }
  if (file !== undefined) return given(parseDeviceKey(readSecretFile(file)), token, resolve(file));
  const settled = join(out, KEY_FILE);
  const isThere = existsSync(settled);
  if (isThere && token.device === undefined)
    return given(parseDeviceKey(readSecretFile(settled)), token, resolve(settled));
  if (isThere) requireDevice(parseDeviceKey(readSecretFile(settled)), token, settled);
  return made(join(out, PENDING_FILE), settled, token);
}

function given(key: DeviceKey, token: EnrolToken, setting: string): OwnKey {
  requireDevice(key, token, setting);
  return { key, setting, settle: () => {} };
}

/** A new key; or the one of an attempt before, whose answer was lost. */
function made(pending: string, settled: string, token: EnrolToken): OwnKey {
  const before = existsSync(pending) ? parseDeviceKey(readSecretFile(pending)) : undefined;
  const fits = before !== undefined && (token.device === undefined || sameBytes(before.device, token.device));
  const key = fits ? before : generateDeviceKey(token.device);
  if (!fits) writeWhole(pending, formatDeviceKey(key), SECRET_MODE);
  return { key, setting: resolve(settled), settle: () => moveWhole(pending, settled) };
}

function requireDevice(key: DeviceKey, { device }: EnrolToken, where: string): void {
  if (device === undefined || sameBytes(key.device, device)) return;
  throw new SluiceError('usage.other_device', 'stop', `${where} is the key of another device than the token is for`, {
    hint: 'Take another --out; the key of this one is made there.',
  });
}
