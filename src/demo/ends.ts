/** What the demo asks of its parts over HTTP, as a person with curl could. */
import { request } from 'undici';
import { type CacheReader, differenceLine } from '../cache/index.ts';
import { SluiceError } from '../errors.ts';
import type { GatewayStatus } from '../gateway.ts';
import type { Published } from '../plant/sensor-clients.ts';
import type { Claim } from '../plant/truth.ts';
import { type Clock, sleep } from '../runtime/clock.ts';
import type { TagDigest } from '../wire/digest.ts';
import type { Look } from './figures.ts';
import type { CloudReading, LedgerSums } from './oracle.ts';
import type { Parts } from './parts.ts';

const TIMEOUT_MS = 10_000;
/** The cloud's own cap of one answer. */
const READINGS_MAX = 100_000;

async function ask(url: string, body?: unknown): Promise<unknown> {
  const { statusCode, body: answer } = await request(url, {
    method: body === undefined ? 'GET' : 'POST',
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await answer.text();
  if (statusCode !== 200)
    throw new SluiceError('demo.answer', 'retry', `${url} answered ${statusCode}: ${text.slice(0, 200)}`);
  return JSON.parse(text);
}

export async function gatewayStatus(parts: Parts): Promise<GatewayStatus> {
  return (await ask(`${parts.httpUrl}/status`)) as GatewayStatus;
}

const UP_MAX_MS = 20_000;
const UP_LOOK_MS = 50;

/** When a source of the gateway came up. @throws demo.source_down after 20 s, with what the source says. */
export async function sourceUp(parts: Parts, source: string, clock: Clock): Promise<number> {
  const endMs = clock.monoMs() + UP_MAX_MS;
  for (;;) {
    const { sources } = await gatewayStatus(parts);
    const found = sources.find((each) => each.source === source);
    if (found?.state === 'up') return found.since;
    if (clock.monoMs() > endMs) {
      throw new SluiceError(
        'demo.source_down',
        'stop',
        `${source} did not come up: ${found?.error?.message ?? 'no reason given'}`,
      );
    }
    await sleep(clock, UP_LOOK_MS);
  }
}

export async function cloudAnswers(parts: Parts): Promise<boolean> {
  try {
    await ask(`${parts.cloudUrl}/healthz`);
    return true;
  } catch {
    return false;
  }
}

export async function look(parts: Parts): Promise<Look> {
  const [status, cloudUp] = await Promise.all([gatewayStatus(parts), cloudAnswers(parts)]);
  const sums = sumLedger(status.cache.ledger);
  return {
    atMs: status.nowMs,
    ...sums,
    rejected: Object.values(status.cache.ledger.sources).reduce((sum, { rejected }) => sum + rejected, 0),
    bytesSent: status.uplink?.bytesSent ?? 0,
    readingsSent: status.uplink?.readingsSent ?? 0,
    freshnessMs: status.uplink?.freshnessMs,
    alarms: status.alarms.length,
    sources: status.sources.map(({ source, state }) => ({ source, state })),
    cloudUp,
  };
}

export function sumLedger(ledger: GatewayStatus['cache']['ledger']): Omit<LedgerSums, 'problems'> {
  const accepted = Object.values(ledger.sources).reduce((sum, source) => sum + source.accepted, 0);
  let delivered = 0;
  let pending = 0;
  let writtenOff = 0;
  for (const account of Object.values(ledger.targets.cloud ?? {})) {
    delivered += account.delivered;
    pending += account.pending;
    const { delivered: _, pending: __, ...off } = account;
    writtenOff += Object.values(off).reduce((sum, count) => sum + count, 0);
  }
  return { accepted, delivered, pending, writtenOff };
}

/** The account as the file has it after the gateway ended, with the recount of its blocks. */
export function ledgerSums(cache: CacheReader): LedgerSums {
  const { damaged, differences } = cache.verify();
  const problems = [
    ...damaged.map(({ id }) => `block ${id} of the journal is damaged`),
    ...differences.map(differenceLine),
  ];
  return { ...sumLedger(cache.ledger()), problems };
}

/** All readings of the cloud in a span of time, in order of time: asked for in slices that fit one answer. */
export async function cloudReadings(parts: Parts, fromMs: number, toMs: number): Promise<CloudReading[]> {
  const url = `${parts.cloudUrl}/v1/readings?tag=*&from=${fromMs}&to=${toMs}&limit=${READINGS_MAX}`;
  const answer = (await ask(url)) as { readings: CloudReading[]; truncated: boolean };
  if (!answer.truncated) return answer.readings;
  const middleMs = Math.floor((fromMs + toMs) / 2);
  return [...(await cloudReadings(parts, fromMs, middleMs)), ...(await cloudReadings(parts, middleMs, toMs))];
}

export async function cloudDigest(parts: Parts): Promise<Map<string, TagDigest>> {
  const answer = (await ask(`${parts.cloudUrl}/v1/digest?gateway=demo`)) as { tags: Record<string, TagDigest> };
  return new Map(Object.entries(answer.tags));
}

export async function published(parts: Parts): Promise<readonly Published[]> {
  return (await ask(`${parts.truthUrl}/published`)) as readonly Published[];
}

/** The sensors stop, and what they published is acknowledged by the broker. */
export async function quietSensors(parts: Parts): Promise<void> {
  await ask(`${parts.truthUrl}/quiet`, {});
}

/** Claims that the plant says are wrong. */
export async function wrongClaims(parts: Parts, claims: readonly Claim[]): Promise<readonly Claim[]> {
  const answer = (await ask(`${parts.truthUrl}/held`, claims)) as { wrong: readonly Claim[] };
  return answer.wrong;
}
