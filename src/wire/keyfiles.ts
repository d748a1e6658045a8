/** The files that hold keys: their names and texts. Who writes them keeps secret ones to their owner (mode 0600). */
import { hex } from './bytes.ts';
import {
  type CloudKey,
  type DeviceKey,
  formatCloudKey,
  formatCloudPublic,
  formatDeviceKey,
  formatRootKey,
  formatRootPublic,
  type RootKey,
  toPublic,
} from './keys.ts';

/** The signed list of a cloud's keys, at the cloud and at its gateways. */
export const KEY_LIST_FILE = 'cloud.list';

export type KeyFile = readonly [name: string, text: string];

export interface KeyFiles {
  readonly secret: KeyFile;
  readonly public: KeyFile;
}

/** `device.key`, and `device.json`: the device list of a cloud that takes only this one. */
export function deviceFiles(key: DeviceKey, name: string): KeyFiles {
  const entry = { device: hex(key.device), name, publicKey: hex(key.publicKey) };
  return {
    secret: ['device.key', formatDeviceKey(key)],
    public: ['device.json', `${JSON.stringify([entry], null, 2)}\n`],
  };
}

/** `cloud.key` and `cloud.pub`; from the second version on with its number, so that nothing in use is replaced. */
export function cloudFiles(key: CloudKey): KeyFiles {
  const name = key.version === 1 ? 'cloud' : `cloud-${key.version}`;
  return {
    secret: [`${name}.key`, formatCloudKey(key)],
    public: [`${name}.pub`, formatCloudPublic(toPublic(key))],
  };
}

export function rootFiles(key: RootKey): KeyFiles {
  return { secret: ['root.key', formatRootKey(key)], public: ['root.pub', formatRootPublic(key.publicKey)] };
}
