/**
 * Changes of the device list by rule: a device enrolled, its key replaced, revoked. Each is one transaction of the database with its
 * entry in the audit log; that transaction is also the lock between the receiver and the commands that change the same list.
 */
import { describe, SluiceError } from '../errors.ts';
import { hex } from '../wire/bytes.ts';
import { kidOf } from '../wire/keys.ts';
import type { Audit } from './audit.ts';
import type { Db } from './database.ts';
import type { DeviceEntry, DeviceList } from './devices.ts';

export interface DeviceBookOptions {
  readonly devices: DeviceList;
  readonly db: Db;
  readonly audit: Pick<Audit, 'record'>;
  readonly logger: { info(facts: object, message: string): void; error(facts: object, message: string): void };
}

export class DeviceBook {
  readonly #options: DeviceBookOptions;
  /** Kids whose old key could not be taken off the list: said once, tried with each message. */
  readonly #stuck = new Set<string>();

  constructor(options: DeviceBookOptions) {
    this.#options = options;
  }

  get devices(): DeviceList {
    return this.#options.devices;
  }

  /** Runs `work` alone among all who change the list; what it writes to the database is there with it or not at all. */
  transact<T>(work: () => T): T {
    return this.#options.db.transaction(work).immediate();
  }

  /**
   * Lists a key. Of a device that is known already it takes the place of all keys: its box was lost, or its key revoked.
   * @throws cloud.devices_fixed, cloud.devices_invalid, cloud.devices_unwritable
   */
  enrol({ device, name, publicKey }: DeviceEntry, address: string): void {
    const { audit, logger } = this.#options;
    this.transact(() => {
      audit.record({
        ...{ who: name, address, action: 'device.enrol', object: device, outcome: 'done' },
        details: { kid: kidText(publicKey) },
      });
      this.#change((entries) => [...entries.filter((entry) => entry.device !== device), { device, name, publicKey }]);
    });
    logger.info({ device, name }, 'device enrolled');
  }

  /** Takes `next` beside `old` until it is used. The same again changes nothing. @throws keychange.key_known and as `enrol` */
  replaceKey(device: string, old: string, next: string, address: string): void {
    const { audit, logger, devices } = this.#options;
    const known = devices.entries().find(({ publicKey }) => publicKey === next);
    if (known !== undefined && (known.device !== device || known.revoked === true)) {
      throw new SluiceError('keychange.key_known', 'discard', 'the new key is that of another device, or was revoked');
    }
    if (known !== undefined) return;
    // Signed by a key that was itself still waiting: that is its first use.
    this.used(kidOf(Buffer.from(old, 'hex')));
    const name = devices.nameOf(device);
    this.transact(() => {
      audit.record({
        ...{ who: name, address, action: 'device.key_change', object: device, outcome: 'done' },
        details: { old: kidText(old), new: kidText(next) },
      });
      // A box that lost its new key before using it asks with another.
      this.#change((entries) => [
        ...entries.filter((entry) => entry.device !== device || entry.replaces === undefined),
        { device, name, publicKey: next, replaces: old },
      ]);
    });
    logger.info({ device, name }, 'device brings a new key; the old one counts until that is used');
  }

  /**
   * A message signed by this key was believed: where it was to replace another, that one is over. Never throws: the message was good,
   * and the next one tries again.
   */
  used(kid: Uint8Array): void {
    const { audit, logger, devices } = this.#options;
    const entry = devices.replacing(kid);
    if (entry === undefined) return;
    const { device, name, publicKey, replaces = '' } = entry;
    try {
      this.transact(() => {
        audit.record({
          ...{ who: name, address: null, action: 'device.key_replaced', object: device, outcome: 'done' },
          details: { old: kidText(replaces), new: kidText(publicKey) },
        });
        this.#change((entries) => entries.flatMap((each) => withoutReplaced(each, entry)));
      });
      logger.info({ device, name }, 'the new key of a device is used: the old one is over');
    } catch (error) {
      if (!this.#stuck.has(hex(kid))) {
        this.#stuck.add(hex(kid));
        logger.error({ device, name, reason: describe(error) }, 'the old key of a device stays on the list');
      }
    }
  }

  /** @throws cloud.device_unknown and as `enrol` */
  revoke(nameOrId: string, who: string): { readonly device: string; readonly name: string; readonly keys: number } {
    const { audit } = this.#options;
    return this.transact(() => {
      let found: DeviceEntry[] = [];
      this.#change((entries) => {
        found = entries.filter(({ device, name }) => device === nameOrId || name === nameOrId);
        const devices = new Set(found.map(({ device }) => device));
        return entries.map((entry) => (devices.has(entry.device) ? { ...entry, revoked: true } : entry));
      });
      const [first] = found;
      if (first === undefined) {
        throw new SluiceError('cloud.device_unknown', 'stop', `no device is called ${nameOrId}`, {
          hint: 'Its name or its id, as they stand in the device list.',
        });
      }
      const { device, name } = first;
      audit.record({ who, address: null, action: 'device.revoke', object: device, outcome: 'done', details: { name } });
      return { device, name, keys: found.length };
    });
  }

  #change(edit: (entries: readonly DeviceEntry[]) => readonly DeviceEntry[]): void {
    const { devices } = this.#options;
    if (devices.change === undefined) {
      throw new SluiceError('cloud.devices_fixed', 'stop', 'this list of devices cannot be changed');
    }
    devices.change(edit);
  }
}

function withoutReplaced(entry: DeviceEntry, by: DeviceEntry): DeviceEntry[] {
  if (entry.device === by.device && entry.publicKey === by.replaces) return [];
  if (entry.publicKey !== by.publicKey) return [entry];
  const { replaces: _, ...settled } = entry;
  return [settled];
}

function kidText(publicKey: string): string {
  return hex(kidOf(Buffer.from(publicKey, 'hex')));
}
