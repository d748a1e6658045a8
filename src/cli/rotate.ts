/**
 * `sluice keygen --rotate`: another key for this gateway, without a gap. The new key is on disk before anybody is told; the cloud takes
 * both; then the new file takes the old one's place, and a running gateway signs with it within seconds. Ended anywhere in between,
 * the pair on disk is one that the cloud takes, and doing it again goes on from there.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SluiceError } from '../errors.ts';
import { systemClock } from '../runtime/clock.ts';
import { readSecretFile } from '../runtime/credentials.ts';
import { moveWhole, SECRET_MODE, writeWhole } from '../runtime/safe-write.ts';
import { bringNewKey, readUplinkKeys } from '../uplink/index.ts';
import { hex, sameBytes } from '../wire/bytes.ts';
import { type DeviceKey, formatDeviceKey, generateDeviceKey, parseDeviceKey } from '../wire/keys.ts';
import { printFindings } from './check.ts';
import { Exit, type ExitCode } from './exit.ts';
import type { Output } from './output.ts';
import { usableConfig } from './usable-config.ts';

export interface RotateCommand {
  readonly config: string;
  /** Folder, where the key in use is a credential. */
  readonly out?: string;
  readonly json?: boolean;
}

const NEXT_FILE = 'device-next.key';

export async function rotate(options: RotateCommand, output: Output): Promise<ExitCode> {
  const { config, findings } = usableConfig(options.config);
  if (config === undefined) {
    printFindings(options.config, findings, output);
    return Exit.usage;
  }
  const { uplink } = config;
  if (uplink === undefined) throw new SluiceError('usage.no_uplink', 'stop', `${options.config} has no uplink`);
  const keys = readUplinkKeys(uplink.keys);
  const file = placeOf(uplink.keys.device, keys.deviceChanged !== undefined, options.out);
  const nextFile = join(dirname(file), NEXT_FILE);
  const next = existsSync(nextFile) ? begun(nextFile, keys.device) : generateDeviceKey(keys.device.device);
  if (!existsSync(nextFile))
    writeWhole(nextFile, formatDeviceKey(next), SECRET_MODE, existsSync(file) ? file : undefined);
  const logger = {
    info: () => {},
    warn: (_facts: object, message: string) => output.problem(message),
    error: (_facts: object, message: string) => output.problem(message),
  };
  await bringNewKey(uplink, keys, next, { clock: systemClock, logger });
  moveWhole(nextFile, file);
  const facts = { secret: file, device: hex(next.device), publicKey: hex(next.publicKey) };
  if (options.json === true) {
    output.json(facts);
    return Exit.fine;
  }
  output.line(`${file}   secret: the new key; the cloud takes both until it sees this one`);
  output.line(
    options.out === undefined
      ? 'A running gateway signs with it within seconds.'
      : 'Put it into the credential in place of the old one, and restart the gateway.',
  );
  return Exit.fine;
}

function placeOf(device: string, isFile: boolean, out: string | undefined): string {
  if (out !== undefined) return join(out, 'device.key');
  if (isFile) return device;
  throw new SluiceError('usage.out_needed', 'stop', 'the device key is a credential: this cannot replace it', {
    hint: 'with --out <folder> the new key is written there, for you to put into the credential',
  });
}

/** What an earlier attempt left. */
function begun(file: string, old: DeviceKey): DeviceKey {
  const next = parseDeviceKey(readSecretFile(file));
  if (sameBytes(next.device, old.device)) return next;
  throw new SluiceError('usage.keys_exist', 'stop', `${file} is there, and is the key of another device`, {
    hint: 'an attempt for another gateway was left there: move it away',
  });
}
