/**
 * The files of `uplink.keys`: the device's key, and what is known of the cloud. That is either its keys themselves (`cloud.pub`), or the
 * root that signs lists of them (`root.pub`); then the newest list is kept beside it, or where `keys.list` says.
 */
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { UplinkConfig } from '../config/uplink.ts';
import { codeOf, SluiceError } from '../errors.ts';
import { readSecretFile, readSmallFile } from '../runtime/credentials.ts';
import { SECRET_MODE, writeWhole } from '../runtime/safe-write.ts';
import { KEY_LIST_FILE } from '../wire/keyfiles.ts';
import { formatKeyList, parseKeyList, rootHash, verifyKeyList } from '../wire/keylist.ts';
import { type CloudPublic, type DeviceKey, parseCloudPublic, parseDeviceKey, parseRootPublic } from '../wire/keys.ts';
import type { KeyListPlace } from './cloud-keys.ts';

type Keys = UplinkConfig['keys'];

export interface UplinkKeys {
  readonly device: DeviceKey;
  /** The device key when its file has changed since the last call; undefined where it is no file. */
  readonly deviceChanged: (() => DeviceKey | undefined) | undefined;
  /** Undefined where only the root is known so far. */
  readonly cloudKeys: CloudPublic | undefined;
  /** With a root. */
  readonly keyList: KeyListPlace | undefined;
}

/**
 * Each is a path, or the key's own text, as `${credential:…}` leaves it.
 * @throws SluiceError `credential.exposed` for a device key that others can read, `credential.unreadable`, `uplink.key`.
 */
export function readUplinkKeys(keys: Keys): UplinkKeys {
  // The stamp first: what changes while it is read is read again.
  const deviceChanged = isText(keys.device) ? undefined : watched(keys);
  return { device: readDevice(keys), deviceChanged, ...readCloud(keys) };
}

/** What `readUplinkKeys` would stop at, for each of the two; empty when both can be used. */
export function uplinkKeyFaults(keys: Keys): { setting: keyof Keys; error: unknown }[] {
  const readers = { device: readDevice, cloud: readCloud };
  return (['device', 'cloud'] as const).flatMap((setting) => {
    try {
      readers[setting](keys);
      return [];
    } catch (error) {
      return [{ setting, error }];
    }
  });
}

function readDevice(keys: Keys): DeviceKey {
  return read('device', keys.device, readSecretFile, parseDeviceKey);
}

function watched(keys: Keys): () => DeviceKey | undefined {
  let seen = stampOf(keys.device);
  return () => {
    const stamp = stampOf(keys.device);
    if (stamp === seen) return undefined;
    seen = stamp;
    return readDevice(keys);
  };
}

function stampOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? 'missing' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
}

function readCloud(keys: Keys): Pick<UplinkKeys, 'cloudKeys' | 'keyList'> {
  const known = read('cloud', keys.cloud, readSmallFile, parseCloud);
  if ('answer' in known) return { cloudKeys: known, keyList: undefined };
  const file = keys.list ?? besideRoot(keys.cloud);
  const { cloudKeys, fault } = readList(file, known.root);
  const like = [file, keys.cloud].find((path) => !isText(path) && existsSync(path));
  const save = (list: Uint8Array) => writeWhole(file, formatKeyList(list), SECRET_MODE, like);
  return { cloudKeys, keyList: { root: known.root, fault, save } };
}

function parseCloud(text: string): CloudPublic | { readonly root: Uint8Array } {
  return text.includes('"sluice-root-public"') ? { root: parseRootPublic(text) } : parseCloudPublic(text);
}

function besideRoot(cloud: string): string {
  if (!isText(cloud)) return join(dirname(cloud), KEY_LIST_FILE);
  throw new SluiceError(
    'uplink.key',
    'stop',
    'a root that comes as a credential needs a place for the newest key list',
    {
      hint: 'name a file that the gateway may write: uplink.keys.list: /var/lib/sluice/cloud.list',
    },
  );
}

/** A list that is missing or bad is fetched again: it is no reason not to start. */
function readList(file: string, root: Uint8Array): { cloudKeys: CloudPublic | undefined; fault: unknown } {
  try {
    if (statSync(file, { throwIfNoEntry: false }) === undefined) return { cloudKeys: undefined, fault: undefined };
    const list = parseKeyList(readSmallFile(file));
    return { cloudKeys: verifyKeyList(list, rootHash(root), 1), fault: undefined };
  } catch (fault) {
    return { cloudKeys: undefined, fault };
  }
}

function isText(given: string): boolean {
  return given.trimStart().startsWith('{');
}

function read<Key>(
  setting: 'device' | 'cloud',
  given: string,
  file: (path: string) => string,
  parse: (text: string) => Key,
): Key {
  const text = isText(given) ? given : file(given);
  try {
    return parse(text);
  } catch (cause) {
    const where = isText(given) ? `uplink.keys.${setting}` : given;
    const making = codeOf(cause) === 'key.weak' ? 'make another' : 'make one';
    throw new SluiceError('uplink.key', 'stop', `${where} holds no key that can be used`, {
      cause,
      hint:
        setting === 'device'
          ? `${making} with sluice keygen, or enrol with sluice enroll`
          : "copy the receiver's cloud.pub, or the root.pub that signs its key lists",
    });
  }
}
