/**
 * Which gateways may deliver: a JSON or YAML list in a file, looked at again whenever it changed, so that a device can be
 * enrolled or revoked without a restart. A device may be listed with several keys while one replaces the other.
 *
 *     [{ "device": "<32 hex digits>", "name": "line3", "publicKey": "<64 hex digits>", "revoked": false }]
 *
 * People write it, and so does the receiver itself (enrolment, new keys): as JSON, whole, in the place of what was there.
 */
import { readFileSync, realpathSync, statSync } from 'node:fs';
import type { Logger } from 'pino';
import { parse } from 'yaml';
import { z } from 'zod';
import { describe, SluiceError } from '../errors.ts';
import { PUBLIC_MODE, writeWhole } from '../runtime/safe-write.ts';
import { fromHex, hex } from '../wire/bytes.ts';
import { DEVICE_BYTES, kidOf, refuseWeakEd25519 } from '../wire/keys.ts';

export interface DeviceEntry {
  /** 32 hex digits. */
  readonly device: string;
  /** What people call the gateway; in queries it stands before the tag: `line3:boiler/flow_temp`. */
  readonly name: string;
  /** Ed25519, 64 hex digits. */
  readonly publicKey: string;
  readonly revoked?: boolean | undefined;
  /** The key that this one takes the place of: gone from the list as soon as this one is used. */
  readonly replaces?: string | undefined;
}

export interface DeviceList {
  /** The public key of this kid if it belongs to this device; why not, otherwise. */
  signer(kid: Uint8Array, device: Uint8Array): Uint8Array | undefined | 'revoked' | 'foreign';
  /** Name of a device, which stays its id when it is not listed (any more). */
  nameOf(device: string): string;
  /** Device by its name or its id. */
  find(nameOrId: string): string | undefined;
  entries(): readonly DeviceEntry[];
  /** The entry of this kid while it waits to take the place of another. */
  replacing(kid: Uint8Array): DeviceEntry | undefined;
  /**
   * Changes the list for good; in force when it returns. Missing where a list cannot be changed. Changes of several processes must be
   * made one after the other, under a lock of the caller's.
   * @throws cloud.devices_invalid when the list, before or after the change, is none; then nothing was changed. cloud.devices_unwritable
   */
  change?(edit: (entries: readonly DeviceEntry[]) => readonly DeviceEntry[]): void;
}

const PUBLIC_KEY_BYTES = 32;
const DEVICES_MAX = 100_000;
const FILE_BYTES_MAX = 64 * 1024 * 1024;

export const DEVICE_NAME = /^[^\s:"'\\/*][^:"'\\/*]{0,127}$/u;
const entry = z.strictObject({
  device: z.string().regex(/^[0-9a-f]{32}$/, { error: 'expected 32 lower-case hex digits' }),
  name: z.string().regex(DEVICE_NAME, { error: 'a name has 1 to 128 characters, none of : / * " \' \\' }),
  publicKey: z.string().regex(/^[0-9a-f]{64}$/, { error: 'expected 64 lower-case hex digits' }),
  revoked: z.boolean().optional(),
  replaces: z
    .string()
    .regex(/^[0-9a-f]{64}$/, { error: 'expected 64 lower-case hex digits' })
    .optional(),
});
const list = z.array(entry).max(DEVICES_MAX);

/** @throws cloud.devices_invalid for contradictions, key.weak for keys that must not be used */
export function fixedDevices(entries: readonly DeviceEntry[]): DeviceList {
  const byKid = new Map<string, { device: string; key: Uint8Array; revoked: boolean }>();
  const nameOf = new Map<string, string>();
  const byName = new Map<string, string>();
  const replacing = new Map<string, DeviceEntry>();
  for (const entry of entries) {
    const { device, name, publicKey, revoked } = entry;
    const key = fromHex(publicKey, PUBLIC_KEY_BYTES);
    refuseWeakEd25519(key);
    const kid = hex(kidOf(key));
    if (byKid.has(kid)) throw invalid(`the key ${publicKey.slice(0, 8)}… is there twice`);
    if ((byName.get(name) ?? device) !== device) throw invalid(`two devices are called ${name}`);
    if ((nameOf.get(device) ?? name) !== name) throw invalid(`device ${device} has two names`);
    byKid.set(kid, { device, key, revoked: revoked === true });
    nameOf.set(device, name);
    byName.set(name, device);
    if (entry.replaces !== undefined) replacing.set(kid, entry);
  }
  return {
    signer(kid, device) {
      const known = byKid.get(hex(kid));
      if (known === undefined) return undefined;
      if (known.revoked) return 'revoked';
      return known.device === hex(device) ? known.key : 'foreign';
    },
    nameOf: (device) => nameOf.get(device) ?? device,
    find: (text) => byName.get(text) ?? (nameOf.has(text) || isDeviceId(text) ? text : undefined),
    entries: () => entries,
    replacing: (kid) => (replacing.size === 0 ? undefined : replacing.get(hex(kid))),
  };
}

function isDeviceId(text: string): boolean {
  return text.length === DEVICE_BYTES * 2 && /^[0-9a-f]+$/.test(text);
}

/**
 * The list in a file. A file that turns bad while the receiver runs leaves the last good list in force, and is logged once.
 * @throws cloud.devices_invalid when it is bad at the start
 */
export function devicesFile(file: string, logger: Pick<Logger, 'info' | 'error'>): DeviceList {
  let seen = stampOf(file);
  let current = load(file);
  const fresh = (): DeviceList => {
    const stamp = stampOf(file);
    if (stamp === seen) return current;
    seen = stamp;
    try {
      current = load(file);
      logger.info({ file, devices: current.entries().length }, 'device list read again');
    } catch (thrown) {
      logger.error({ file, reason: describe(thrown) }, 'device list cannot be read; the last good one stays in force');
    }
    return current;
  };
  return {
    signer: (kid, device) => fresh().signer(kid, device),
    nameOf: (device) => fresh().nameOf(device),
    find: (text) => fresh().find(text),
    entries: () => fresh().entries(),
    replacing: (kid) => fresh().replacing(kid),
    change: (edit) => {
      current = changeDevices(file, edit);
      seen = stampOf(file);
    },
  };
}

/** @throws cloud.devices_invalid, cloud.devices_unwritable, key.weak; then the file is as it was */
export function changeDevices(
  file: string,
  edit: (entries: readonly DeviceEntry[]) => readonly DeviceEntry[],
): DeviceList {
  // What is in the file now, not what was read of it before: somebody may just have edited it.
  const changed = fixedDevices(edit(load(file).entries()));
  try {
    const mode = statSync(file).mode & 0o777;
    writeWhole(realpathSync(file), `${JSON.stringify(changed.entries(), null, 2)}\n`, mode, file);
  } catch (cause) {
    throw new SluiceError('cloud.devices_unwritable', 'retry', `the device list ${file} cannot be written`, {
      hint: 'The receiver needs to write it, and its folder, to enrol devices and change their keys.',
      cause,
    });
  }
  return changed;
}

/** Makes an empty one where there is none. */
export function ensureDevices(file: string): void {
  if (statSync(file, { throwIfNoEntry: false }) === undefined) writeWhole(file, '[]\n', PUBLIC_MODE);
}

/** Changes whenever the file does: editors write anew (inode), others in place (size, time). */
function stampOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? 'missing' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
}

function load(file: string): DeviceList {
  let parsed: unknown;
  try {
    const text = readFileSync(file, 'utf8');
    if (text.length > FILE_BYTES_MAX) throw new RangeError(`more than ${FILE_BYTES_MAX} bytes`);
    parsed = parse(text);
  } catch (cause) {
    throw invalid(`the device list ${file} cannot be read`, cause);
  }
  const result = list.safeParse(parsed);
  if (!result.success) {
    const [first] = result.error.issues;
    throw invalid(`the device list ${file} is wrong at [${first?.path.join('.') ?? ''}]: ${first?.message ?? ''}`);
  }
  return fixedDevices(result.data);
}

function invalid(message: string, cause?: unknown): SluiceError {
  return new SluiceError('cloud.devices_invalid', 'stop', message, {
    hint: 'It is a list of { device, name, publicKey } as `sluice keygen` prints it.',
    cause,
  });
}
