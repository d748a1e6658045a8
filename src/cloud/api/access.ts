/** Tokens and the audit log: for administrators. */
import { z } from 'zod';
import { SluiceError } from '../../errors.ts';
import { type AccessTokens, ROLES } from '../access/tokens.ts';
import type { Audit } from '../audit.ts';
import type { Db } from '../database.ts';
import type { Api, Asked } from './api.ts';
import { CONTENT_TYPES, isoTime } from './formats.ts';
import * as params from './params.ts';

export interface AccessParts {
  readonly db: Db;
  readonly access: AccessTokens;
  readonly audit: Audit;
  readonly nowMs: () => number;
}

const accessBody = z.strictObject({
  name: z.string().min(1).max(64),
  role: z.enum(ROLES),
  expires: z.iso.datetime({ offset: true }).transform(Date.parse).optional(),
});

export function registerAccess(api: Api, parts: AccessParts): void {
  api.route('GET', '/v1/access', 'admin', ({ request }) => list(request.query, parts));
  api.route('POST', '/v1/access', 'admin', (asked) => add(asked, parts));
  api.route('DELETE', '/v1/access/:name', 'admin', (asked) => remove(asked, parts));
  api.route('GET', '/v1/audit', 'admin', (asked) => sendAudit(asked, parts));
}

function list(query: unknown, { access }: AccessParts): unknown {
  params.parseQuery(params.noQuery, query);
  const tokens = access.list().map(({ name, role, createdMs, expiresMs, usedMs }) => ({
    name,
    role,
    created: isoTime(createdMs),
    expires: expiresMs === null ? null : isoTime(expiresMs),
    used: usedMs === null ? null : isoTime(usedMs),
  }));
  return { tokens };
}

function add({ request, reply, caller }: Asked, { db, access, audit, nowMs }: AccessParts): unknown {
  const { name, role, expires } = params.parseQuery(accessBody, request.body);
  if (expires !== undefined && expires <= nowMs()) {
    throw new SluiceError('query.invalid', 'discard', 'expires: that is over already');
  }
  const token = db.transaction(() => {
    const made = access.add(name, role, expires);
    const { name: who, address } = caller;
    audit.record({ who, address, action: 'access.add', object: name, outcome: 'done', details: { role } });
    return made;
  })();
  reply.code(201).header('cache-control', 'no-store');
  return { name, role, token };
}

function remove({ request, caller }: Asked, { db, access, audit }: AccessParts): unknown {
  const { name } = params.parseQuery(params.byName, request.params);
  const removed = db.transaction(() => {
    if (!access.remove(name)) return false;
    audit.record({ who: caller.name, address: caller.address, action: 'access.remove', object: name, outcome: 'done' });
    return true;
  })();
  if (removed) return { removed: name };
  throw new SluiceError('query.not_found', 'discard', `no token is called ${name}`, {
    hint: 'GET /v1/access lists them.',
  });
}

function sendAudit({ request, reply }: Asked, { audit }: AccessParts): unknown {
  const query = params.parseQuery(params.auditQuery, request.query);
  const found = audit.list(query.limit + 1, query.cursor, query.action);
  const entries = found
    .slice(0, query.limit)
    .map(({ atMs, ...entry }) => ({ time: isoTime(atMs), timeMs: atMs, ...entry }));
  const next = found.length > query.limit ? (entries.at(-1)?.id ?? null) : null;
  if (query.format === 'json') return { entries, next };
  return reply.type(CONTENT_TYPES.ndjson).send(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
}
