/**
 * The plant's truth over HTTP, for an oracle in another process: what its sensors published, and whether its registers
 * held a value at a time. It knows nothing of the gateway.
 */
import fastify from 'fastify';
import type { PlainValue } from '../reading.ts';
import type { PlantModel } from './model.ts';
import type { Published } from './sensor-clients.ts';

/** A question of a few hundred thousand readings. */
const BODY_BYTES_MAX = 256_000_000;

/** One reading that somebody claims to have taken from a register; 64-bit integers as text. */
export interface Claim {
  readonly unit: number;
  readonly tag: string;
  readonly value: number | boolean | string | null;
  readonly wide: boolean;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface TruthServer {
  readonly url: string;
  close(): Promise<void>;
}

export async function startTruth(options: {
  readonly host: string;
  readonly port: number;
  readonly model: PlantModel;
  readonly published: () => readonly Published[];
  readonly quiet: () => Promise<void>;
}): Promise<TruthServer> {
  const app = fastify({ bodyLimit: BODY_BYTES_MAX, forceCloseConnections: true });
  app.get('/published', async () => options.published());
  app.post('/quiet', async () => {
    await options.quiet();
    return { quiet: true };
  });
  app.post<{ Body: readonly Claim[] }>('/held', async (request) => ({
    wrong: request.body.filter((claim) => !holds(options.model, claim)),
  }));
  await app.listen({ host: options.host, port: options.port });
  const address = app.server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  return { url: `http://${options.host}:${port}`, close: () => app.close() };
}

function holds(model: PlantModel, claim: Claim): boolean {
  const value: PlainValue = claim.wide && typeof claim.value === 'string' ? BigInt(claim.value) : claim.value;
  return model.held(claim.unit, claim.tag, value, claim.fromMs, claim.toMs);
}
