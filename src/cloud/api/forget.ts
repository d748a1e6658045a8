/** Deletion on request: for administrators. */
import { z } from 'zod';
import { SluiceError } from '../../errors.ts';
import type { Catalog } from '../catalog.ts';
import type { DeviceList } from '../devices.ts';
import type { ForgetDesk } from '../forget/desk.ts';
import type { Forgetting } from '../forget/forgetting.ts';
import type { ForgetJob } from '../forget/jobs.ts';
import { TagNames } from '../tag-names.ts';
import type { Api, Asked } from './api.ts';
import { isoTime } from './formats.ts';
import * as params from './params.ts';

export interface ForgetRouteParts {
  readonly catalog: Catalog;
  readonly devices: DeviceList;
  readonly forgetting: Forgetting;
  readonly desk: Pick<ForgetDesk, 'wake'>;
  readonly nowMs: () => number;
}

const LISTED_MAX = 1000;

const body = z
  .strictObject({
    gateway: z.string().min(1).max(1024),
    tag: z.string().min(1).max(1024).optional(),
    everything: z.literal(true).optional(),
    reason: z.string().min(1).max(500).optional(),
  })
  // One word that was forgotten must not delete a gateway.
  .refine(({ tag, everything }) => (tag === undefined) === (everything === true), {
    error: 'either a tag, or everything: true',
  });

export function registerForget(api: Api, parts: ForgetRouteParts): void {
  const names = new TagNames(parts.catalog, parts.devices);
  api.route('POST', '/v1/forget', 'admin', (asked) => request(asked, parts, names));
  api.route('GET', '/v1/forget', 'admin', ({ request }) => {
    params.parseQuery(params.noQuery, request.query);
    return { requests: parts.forgetting.jobs.list(LISTED_MAX).map((job) => shown(job, parts)) };
  });
  api.route('GET', '/v1/forget/:id', 'admin', ({ request }) => {
    const { id } = params.parseQuery(params.byId, request.params);
    const job = parts.forgetting.jobs.get(id);
    if (job === undefined) throw new SluiceError('query.not_found', 'discard', `no request has the number ${id}`);
    return shown(job, parts);
  });
}

function request(
  { request: { body: asked }, reply, caller }: Asked,
  parts: ForgetRouteParts,
  names: TagNames,
): unknown {
  const { forgetting, desk, nowMs, catalog } = parts;
  const { gateway, tag, reason } = params.parseQuery(body, asked);
  const device = names.device(gateway);
  if (catalog.findDevice(device) === undefined) {
    throw new SluiceError('query.not_found', 'discard', `nothing was ever received of ${gateway}`);
  }
  const name = tag === undefined ? null : names.known(tag, device);
  const id = forgetting.request(
    { device, tag: name, reason: reason ?? null, who: caller.name, atMs: nowMs() },
    caller.address,
  );
  desk.wake();
  const job = forgetting.jobs.get(id);
  reply.code(202).header('location', `/v1/forget/${id}`);
  return job === undefined ? { id } : shown(job, parts);
}

function shown({ id, device, tag, reason, who, atMs, phase, removed, doneMs }: ForgetJob, parts: ForgetRouteParts) {
  const when = { asked: isoTime(atMs), done: doneMs === null ? null : isoTime(doneMs) };
  return { id, gateway: parts.devices.nameOf(device), device, tag, reason, by: who, ...when, phase, removed };
}
