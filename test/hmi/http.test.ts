import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from '@jest/globals';
import { startHttp } from '../../src/hmi/http.ts';

const VIEW = {
  metrics: { contentType: 'text/plain', text: async () => '' },
  status: async () => ({}),
  faults: () => [],
  values: { values: async () => [], all: () => [] },
  history: async () => ({}),
};

test('a port that is taken is named with its setting and what to do', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  try {
    await expect(startHttp({ listen: { host: '127.0.0.1', port } }, VIEW)).rejects.toMatchObject({
      code: 'http.listen_failed',
      message: `http.listen: nothing can listen on 127.0.0.1:${port}`,
      hint: expect.stringContaining('another port'),
    });
  } finally {
    other.close();
  }
});

test('an address that this box does not have is named with its setting', async () => {
  await expect(startHttp({ listen: { host: '192.0.2.1', port: 0 } }, VIEW)).rejects.toMatchObject({
    code: 'http.listen_failed',
    hint: expect.stringContaining('correct http.listen'),
  });
});
