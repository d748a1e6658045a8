/** The API in OpenAPI 3.1, for people who look and tools that generate; kept short on purpose. */
const text = (description: string, required = false) => ({ description, required, schema: { type: 'string' } });
const query = (name: string, of: ReturnType<typeof text>) => ({ name, in: 'query', ...of });

const gateway = query('gateway', text('Name or id of the gateway'));
const tag = query('tag', text('`gateway:source/tag` or `source/tag`', true));
const from = query('from', text('ISO 8601 or milliseconds since 1970; an hour before `to` by default'));
const to = query('to', text('Exclusive; now by default'));
const limit = query('limit', text('At most so many'));
const format = query('format', text('json (default), ndjson or csv'));

const get = (summary: string, parameters: readonly object[] = []) => ({
  get: {
    summary,
    parameters,
    security: [{ token: [] }],
    responses: { 200: { description: 'Found' }, default: { $ref: '#/components/responses/Error' } },
  },
});
const post = (summary: string, contentType: string) => ({
  post: {
    summary,
    requestBody: { required: true, content: { [contentType]: {} } },
    responses: { default: { description: 'Signed by the answer key of the cloud' } },
  },
});

export const OPENAPI = {
  openapi: '3.1.0',
  info: { title: 'Sluice cloud receiver', version: '1' },
  paths: {
    '/v1/batches': post('Deliver a sealed batch', 'application/vnd.sluice.envelope'),
    '/v1/hello': post('Ask what is held', 'application/vnd.sluice.hello'),
    '/v1/keys': get("The signed list of this cloud's keys, application/vnd.sluice.key-list"),
    '/v1/device-key': post('Bring a new key of a device', 'application/vnd.sluice.key-change'),
    '/v1/enrol': {
      post: {
        summary: 'Enrol a device with a one-time token',
        requestBody: { required: true, content: { 'application/vnd.sluice.enrol': {} } },
        responses: {
          200: { description: 'With a MAC by the secret of the token' },
          default: { $ref: '#/components/responses/Error' },
        },
      },
    },
    '/v1/readings': get(
      'Readings in order of time, the newest `limit`; page by `to` = the first one of the page before',
      [
        gateway,
        { ...tag, description: `${tag.description}; \`*\` stands for any characters` },
        from,
        to,
        limit,
        format,
      ],
    ),
    '/v1/latest': get('The newest reading of each tag, by its own time', [
      gateway,
      { ...tag, required: false, description: `${tag.description}; \`*\` stands for any characters` },
      limit,
    ]),
    '/v1/windows': get('Count, min, max, mean, first and last over whole periods', [
      gateway,
      tag,
      from,
      to,
      query('period', text('`1min`, or milliseconds', true)),
      format,
    ]),
    '/v1/alarms': get('Alarms of the gateways, and those of the cloud about them', [
      gateway,
      query('active', text('true: only those')),
      limit,
    ]),
    '/v1/alarms/{id}/close': {
      post: {
        summary: 'Close an alarm of the cloud; needs the operator token',
        parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'integer' } }],
        requestBody: { required: true, content: { 'application/json': { example: { by: 'anna' } } } },
        security: [{ token: [] }],
        responses: { 200: { description: 'Closed' }, default: { $ref: '#/components/responses/Error' } },
      },
    },
    '/v1/devices': get('Each gateway: runs, what is held, explained, missing, its alarms'),
    '/v1/digest': get('Order-free digest of the content of each tag', [{ ...gateway, required: true }]),
    '/healthz': get('Alive'),
    '/metrics': get('For Prometheus'),
  },
  components: {
    securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    responses: {
      Error: {
        description: 'Refused',
        content: {
          'application/json': {
            schema: {
              type: 'object',
              required: ['code', 'message', 'hint'],
              properties: {
                code: { type: 'string' },
                message: { type: 'string' },
                hint: { type: ['string', 'null'] },
              },
            },
          },
        },
      },
    },
  },
} as const;
