/** Makes one-time tokens for enrolment, beside a receiver that runs or not: both work on the same database. */
import { SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { fromHex } from '../wire/bytes.ts';
import { formatToken, makeToken } from '../wire/enrol.ts';
import { rootHash } from '../wire/keylist.ts';
import { DEVICE_BYTES } from '../wire/keys.ts';
import type { Audit } from './audit.ts';
import type { Db } from './database.ts';
import { DEVICE_NAME, type DeviceList } from './devices.ts';
import { EnrolTokens } from './enrol-tokens.ts';

export interface IssueOptions {
  readonly db: Db;
  readonly audit: Pick<Audit, 'record'>;
  readonly devices: DeviceList;
  /** Public key of the root that signs this cloud's key lists. */
  readonly root: Uint8Array;
  readonly clock: Pick<Clock, 'wallMs'>;
  /** What the device will be called. Where one is called so already, the token gives that one a new key. */
  readonly name: string;
  readonly validMs: number;
  /** For the audit log. */
  readonly who: string;
}

export interface Issued {
  /** Holds the secret: it is shown once and kept nowhere. */
  readonly token: string;
  readonly expiresMs: number;
  /** Of a device that is known already. */
  readonly device: string | undefined;
}

/** @throws usage.device_name for one that cannot be a name, or that an unused token has already */
export function issueToken(options: IssueOptions): Issued {
  const { db, audit, devices, root, clock, name, validMs, who } = options;
  if (!DEVICE_NAME.test(name)) throw badName('a name has 1 to 128 characters, none of : / * " \' \\');
  const device = devices.entries().find((entry) => entry.name === name)?.device;
  const token = makeToken(rootHash(root), device === undefined ? undefined : fromHex(device, DEVICE_BYTES));
  const nowMs = clock.wallMs();
  const expiresMs = nowMs + validMs;
  db.transaction(() => {
    const tokens = new EnrolTokens(db);
    // Two boxes would race for one name, and the second would fail in the field.
    if (device === undefined && tokens.isOpen(name, nowMs)) {
      throw badName(`there is a token for ${name} already that was not used: let it expire, or take another name`);
    }
    tokens.add(token, name, nowMs, expiresMs);
    audit.record({ who, address: null, action: 'enrol.token', object: name, outcome: 'done', details: { expiresMs } });
  }).immediate();
  return { token: formatToken(token), expiresMs, device };
}

function badName(message: string): SluiceError {
  return new SluiceError('usage.device_name', 'stop', message);
}
