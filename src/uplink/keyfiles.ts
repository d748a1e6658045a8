/** The two key files of `uplink.keys`. */
import type { UplinkConfig } from '../config/uplink.ts';
import { SluiceError } from '../errors.ts';
import { readSecretFile, readSmallFile } from '../runtime/credentials.ts';
import { type CloudPublic, type DeviceKey, parseCloudPublic, parseDeviceKey } from '../wire/keys.ts';

type Keys = UplinkConfig['keys'];

/**
 * Each is a path, or the key's own text, as `${credential:…}` leaves it.
 * @throws SluiceError `credential.exposed` for a device key that others can read, `credential.unreadable`, `uplink.key`.
 */
export function readUplinkKeys(keys: Keys): { device: DeviceKey; cloudKeys: CloudPublic } {
  return { device: readDevice(keys), cloudKeys: readCloud(keys) };
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

function readCloud(keys: Keys): CloudPublic {
  return read('cloud', keys.cloud, readSmallFile, parseCloudPublic);
}

function read<Key>(setting: string, given: string, file: (path: string) => string, parse: (text: string) => Key): Key {
  const isText = given.trimStart().startsWith('{');
  const text = isText ? given : file(given);
  try {
    return parse(text);
  } catch (cause) {
    const where = isText ? `uplink.keys.${setting}` : given;
    throw new SluiceError('uplink.key', 'stop', `${where} holds no key that can be used`, {
      cause,
      hint: setting === 'device' ? 'make one with sluice keygen' : "copy the receiver's public keys",
    });
  }
}
