/** The API in OpenAPI 3.1, for people who look and tools that generate. A test asks every path and holds the answers against it. */
import { ANSWER_CONTENT_TYPE, ENVELOPE_CONTENT_TYPE } from '../../../wire/answer.ts';
import { HELLO_ANSWER_CONTENT_TYPE, HELLO_CONTENT_TYPE } from '../../../wire/hello.ts';
import { KEY_LIST_CONTENT_TYPE } from '../../../wire/keylist.ts';
import type { Role } from '../../access/tokens.ts';
import { FORMATS } from '../formats.ts';
import { SCHEMAS } from './schemas.ts';

interface Parameter {
  readonly name: string;
  readonly in: 'query' | 'path';
  readonly required: boolean;
  readonly description: string;
  readonly schema: Readonly<Record<string, unknown>>;
}

const query = (
  name: string,
  description: string,
  schema: object = { type: 'string' },
  required = false,
): Parameter => ({
  ...{ name, in: 'query', required, description },
  schema: { ...schema },
});
const path = (name: string, description: string, type: string): Parameter => ({
  ...{ name, in: 'path', required: true, description },
  schema: { type },
});
const whole = { type: 'integer', minimum: 1 };

const gateway = query('gateway', 'Name or id of the gateway; `*` stands for any characters');
const source = query('source', 'The part of a tag before its first `/`; `*` stands for any characters');
const tag = query(
  'tag',
  '`gateway:source/tag`, `source/tag`, or with `source` the rest; `*` stands for any characters',
  undefined,
  true,
);
const tags = [gateway, source, tag];
const span = [
  query('from', 'ISO 8601 or milliseconds since 1970; an hour before `to` by default'),
  query('to', 'Exclusive; now by default'),
];
const limit = query('limit', 'At most so many', whole);
const cursor = query('cursor', '`next` of the page before; also in the Link header');
const format = (...of: readonly string[]) => query('format', `${of[0]} by default`, { enum: of });

const json = (schema: string) => ({ 'application/json': { schema: { $ref: `#/components/schemas/${schema}` } } });
const TEXT = { schema: { type: 'string' } };
const lines = { 'application/x-ndjson': TEXT, 'text/csv': TEXT };
const bytes = (contentType: string) => ({ [contentType]: { schema: { type: 'string', format: 'binary' } } });
const error = { $ref: '#/components/responses/Error' };

interface Said {
  readonly parameters?: readonly Parameter[];
  readonly body?: object;
  readonly more?: object;
  readonly status?: number;
}

/** @param role null: no token */
function operation(
  role: Role | null,
  summary: string,
  content: object,
  { parameters = [], body, more, status = 200 }: Said = {},
) {
  return {
    summary: role === null ? summary : `${summary} (${role})`,
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && { requestBody: { required: true, content: body } }),
    security: role === null ? [] : [{ token: [role] }],
    responses: { [status]: { description: 'Done', content }, ...more, default: error },
  };
}

const sealed = (summary: string, takes: string, gives: string) =>
  operation(null, summary, bytes(gives), {
    body: bytes(takes),
    more: { '4XX': { description: 'Refused under signature', content: bytes(ANSWER_CONTENT_TYPE) } },
  });

export const OPENAPI = {
  openapi: '3.1.0',
  info: { title: 'Sluice cloud receiver', version: '1', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
  paths: {
    '/v1/batches': { post: sealed('Deliver a sealed batch', ENVELOPE_CONTENT_TYPE, ANSWER_CONTENT_TYPE) },
    '/v1/hello': { post: sealed('Ask what is held', HELLO_CONTENT_TYPE, HELLO_ANSWER_CONTENT_TYPE) },
    '/v1/enrol': {
      post: operation(null, 'Make a gateway known, with a one-time token', bytes('application/octet-stream'), {
        body: bytes('application/octet-stream'),
      }),
    },
    '/v1/device-key': { post: sealed('The next key of a gateway', 'application/octet-stream', ANSWER_CONTENT_TYPE) },
    '/v1/keys': { get: operation(null, "The signed list of the cloud's keys", bytes(KEY_LIST_CONTENT_TYPE)) },
    '/v1/readings': {
      get: operation(
        'reader',
        'Readings in order of time, the newest `limit`',
        { ...json('Readings'), ...lines },
        {
          parameters: [...tags, ...span, limit, cursor, format(...FORMATS)],
        },
      ),
    },
    '/v1/export': {
      get: operation(
        'reader',
        'Every reading of a span in order of time, streamed; cut off, it ends without its last chunk',
        lines,
        {
          parameters: [...tags, ...span, format('ndjson', 'csv', 'columns')],
        },
      ),
    },
    '/v1/latest': {
      get: operation(
        'reader',
        'The newest reading of each tag, by its own time',
        { ...json('Latest'), ...lines },
        {
          parameters: [gateway, source, { ...tag, required: false }, limit, cursor, format(...FORMATS)],
          more: { 304: { description: 'Nothing new since the ETag in If-None-Match' } },
        },
      ),
    },
    '/v1/windows': {
      get: operation(
        'reader',
        'Count, min, max, mean, first and last over whole periods',
        { ...json('Windows'), ...lines },
        {
          parameters: [
            ...[...tags, ...span],
            query('period', '`1min`, or milliseconds; this or `points`'),
            query('points', 'The shortest usual period that gives at most so many windows a tag', whole),
            format(...FORMATS),
          ],
        },
      ),
    },
    '/v1/digest': {
      get: operation('reader', 'Order-free digest of the content of each tag', json('Digest'), {
        parameters: [query('gateway', 'Name or id', undefined, true)],
      }),
    },
    '/v1/devices': {
      get: operation('reader', 'Each gateway: runs, what is held, explained, missing', json('Devices')),
    },
    '/v1/alarms': {
      get: operation('reader', 'Alarms of the gateways, and those of the cloud about them', json('Alarms'), {
        parameters: [gateway, query('active', 'true: only those', { enum: ['true', 'false'] }), limit],
      }),
    },
    '/v1/alarms/{id}/close': {
      post: operation('operator', 'Close an alarm of the cloud', json('Closed'), {
        parameters: [path('id', 'Its number', 'integer')],
        body: {
          'application/json': { schema: { type: 'object', required: ['by'], properties: { by: { type: 'string' } } } },
        },
      }),
    },
    '/v1/access': {
      get: operation('admin', 'Tokens: names, roles, last use', json('Tokens')),
      post: operation('admin', 'Make a token; it is shown once', json('MadeToken'), {
        body: json('NewToken'),
        status: 201,
      }),
    },
    '/v1/access/{name}': {
      delete: operation('admin', 'End a token', json('Removed'), { parameters: [path('name', 'Its name', 'string')] }),
    },
    '/v1/audit': {
      get: operation(
        'admin',
        'Who did what, newest first',
        { ...json('Audit'), 'application/x-ndjson': TEXT },
        {
          parameters: [query('action', 'Only these, such as access.add'), limit, cursor, format('json', 'ndjson')],
        },
      ),
    },
    '/v1/forget': {
      get: operation('admin', 'Deletions, newest first', json('ForgetList')),
      post: operation('admin', 'Delete all of a gateway or of one tag', json('Forgetting'), {
        body: json('Forget'),
        status: 202,
      }),
    },
    '/v1/forget/{id}': {
      get: operation('admin', 'How far a deletion is', json('Forgetting'), {
        parameters: [path('id', 'Its number', 'integer')],
      }),
    },
    '/healthz': { get: operation(null, 'Alive', json('Health')) },
    '/metrics': { get: operation('reader', 'For Prometheus', { 'text/plain': TEXT }) },
    '/openapi.json': { get: operation(null, 'This', { 'application/json': { schema: { type: 'object' } } }) },
  },
  components: {
    securitySchemes: {
      token: {
        ...{ type: 'http', scheme: 'bearer' },
        description:
          'Roles: reader, operator, admin; each may what those before it may. 401 without a valid one, 403 with too small a one',
      },
    },
    responses: { Error: { description: 'Refused', content: json('Error') } },
    schemas: SCHEMAS,
  },
} as const;
