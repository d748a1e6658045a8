/** Alarms of the gateways, those of the cloud about them, and the state of each gateway. */
import { SluiceError } from '../../errors.ts';
import type { Audit } from '../audit.ts';
import type { Catalog } from '../catalog.ts';
import { type OverviewStores, overview } from '../overview.ts';
import { TagNames } from '../tag-names.ts';
import type { Api, Asked } from './api.ts';
import { isoTime } from './formats.ts';
import * as params from './params.ts';

export interface AlarmParts extends OverviewStores {
  readonly catalog: Catalog;
  readonly audit: Audit;
  readonly nowMs: () => number;
}

export class AlarmRoutes {
  readonly #parts: AlarmParts;
  readonly #names: TagNames;

  constructor(parts: AlarmParts) {
    this.#parts = parts;
    this.#names = new TagNames(parts.catalog, parts.devices);
  }

  register(api: Api): void {
    api.route('GET', '/v1/alarms', 'reader', ({ request }) => this.#alarms(request.query));
    api.route('POST', '/v1/alarms/:id/close', 'operator', (asked) => this.#close(asked));
    api.route('GET', '/v1/devices', 'reader', ({ request }) => {
      params.parseQuery(params.noQuery, request.query);
      return { devices: overview(this.#parts) };
    });
  }

  #alarms(query: unknown): unknown {
    const { cloudAlarms, deviceAlarms, devices, catalog } = this.#parts;
    const { gateway, active, limit } = params.parseQuery(params.alarmsQuery, query);
    const device = gateway === undefined ? undefined : this.#names.device(gateway);
    const cloud = cloudAlarms.list(device, active, limit).map(({ raisedMs, clearedMs, ...alarm }) => ({
      ...alarm,
      gateway: devices.nameOf(alarm.device),
      active: clearedMs === null,
      raised: isoTime(raisedMs),
      cleared: clearedMs === null ? null : isoTime(clearedMs),
    }));
    const gateways = catalog
      .devices()
      .filter((row) => device === undefined || row.device === device)
      .flatMap((row) =>
        deviceAlarms
          .list(row.id)
          .map(({ at, ...alarm }) => ({ ...alarm, gateway: devices.nameOf(row.device), time: isoTime(at) })),
      )
      .filter((alarm) => alarm.active || !active)
      .slice(0, limit);
    return { cloud, gateways };
  }

  #close({ request, caller }: Asked): unknown {
    const { db, cloudAlarms, audit, nowMs } = this.#parts;
    const { id } = params.parseQuery(params.byId, request.params);
    const { by } = params.parseQuery(params.closeBody, request.body);
    const closed = db.transaction(() => {
      if (!cloudAlarms.close(id, by, nowMs())) return false;
      const { name: who, address } = caller;
      audit.record({ who, address, action: 'alarm.close', object: String(id), outcome: 'done', details: { by } });
      return true;
    })();
    if (closed) return { closed: id, by };
    throw new SluiceError('query.not_found', 'discard', `no open alarm has the number ${id}`);
  }
}
