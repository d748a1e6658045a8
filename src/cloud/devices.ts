/**
 * Which gateways may deliver: a JSON or YAML list in a file, looked at again whenever it changed, so that a device can be
 * enrolled or revoked without a restart. A device may be listed with several keys while one replaces the other.
 *
 *     [{ "device": "<32 hex digits>", "name": "line3", "publicKey": "<64 hex digits>", "revoked": false }]
 */
import { readFileSync, statSync } from 'node:fs';
import type { Logger } from 'pino';
import { parse } from 'yaml';
import { z } from 'zod';
import { describe, SluiceError } from '../errors.ts';
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
}

export interface DeviceList {
  /** The public key of this kid if it belongs to this device; why not, otherwise. */
  signer(kid: Uint8Array, device: Uint8Array): Uint8Array | undefined | 'revoked' | 'foreign';
  /** Name of a device, which stays its id when it is not listed (any more). */
  nameOf(device: string): string;
  /** Device by its name or its id. */
  find(nameOrId: string): string | undefined;
  entries(): readonly DeviceEntry[];
}

const PUBLIC_KEY_BYTES = 32;
const DEVICES_MAX = 100_000;
const FILE_BYTES_MAX = 64 * 1024 * 1024;

const entry = z.strictObject({
  device: z.string().regex(/^[0-9a-f]{32}$/, { error: 'expected 32 lower-case hex digits' }),
  name: z
    .string()
    .regex(/^[^\s:"'\\/*][^:"'\\/*]{0,127}$/u, { error: 'a name has 1 to 128 characters, none of : / * " \' \\' }),
  publicKey: z.string().regex(/^[0-9a-f]{64}$/, { error: 'expected 64 lower-case hex digits' }),
  revoked: z.boolean().optional(),
});
const list = z.array(entry).max(DEVICES_MAX);

/** @throws cloud.devices_invalid for contradictions, key.weak for keys that must not be used */
export function fixedDevices(entries: readonly DeviceEntry[]): DeviceList {
  const byKid = new Map<string, { device: string; key: Uint8Array; revoked: boolean }>();
  const nameOf = new Map<string, string>();
  const byName = new Map<string, string>();
  for (const { device, name, publicKey, revoked } of entries) {
    const key = fromHex(publicKey, PUBLIC_KEY_BYTES);
    refuseWeakEd25519(key);
    const kid = hex(kidOf(key));
    if (byKid.has(kid)) throw invalid(`the key ${publicKey.slice(0, 8)}… is there twice`);
    if ((byName.get(name) ?? device) !== device) throw invalid(`two devices are called ${name}`);
    if ((nameOf.get(device) ?? name) !== name) throw invalid(`device ${device} has two names`);
    byKid.set(kid, { device, key, revoked: revoked === true });
    nameOf.set(device, name);
    byName.set(name, device);
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
  };
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
