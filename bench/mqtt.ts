/**
 * MQTT in → durable → acknowledged, and with a cloud → delivered: the gateway as users run it. Brokers and generator are
 * processes of their own and share the machine's cores with it; only the gateway's CPU is counted.
 */
import type { GatewayStatus } from '../src/gateway.ts';
import { type Undo, undoing } from './cleanup.ts';
import { READINGS_A_MESSAGE, topicsOf } from './mqtt-load.ts';
import { startMosquitto } from './outside.ts';
import { memoryOf, since, type Usage } from './procfs.ts';
import type { BenchResult } from './result.ts';
import { accepted, type Gateway, Rig } from './rig.ts';
import { Script } from './script.ts';

type Broker = 'bare peer' | 'aedes' | 'mosquitto';

interface Variant {
  readonly broker: Broker;
  readonly readingsAMessage: number;
  readonly hasCloud: boolean;
}

export interface MqttRun {
  readonly quick: boolean;
}

const SOURCE = 'bench';
/** Sent before, and not counted. */
const WARM_UP_SHARE = 0.25;
const LOOK_MS = 50;
const ACCEPTED_WITHIN_MS = 60_000;
const DELIVERED_WITHIN_MS = 120_000;

/** Each variant once, on a fresh gateway. */
export async function benchMqtt(run: MqttRun): Promise<BenchResult[]> {
  const results: BenchResult[] = [];
  for (const variant of variants(run)) results.push(...(await undoing((undo) => measure(undo, variant, run))));
  return results;
}

function variants({ quick }: MqttRun): Variant[] {
  const brokers: readonly Broker[] = quick ? ['bare peer'] : ['bare peer', 'aedes', 'mosquitto'];
  const plain = brokers.flatMap((broker) =>
    READINGS_A_MESSAGE.map((readingsAMessage) => ({ broker, readingsAMessage, hasCloud: false })),
  );
  const delivering = READINGS_A_MESSAGE.map((readingsAMessage) => {
    return { broker: 'bare peer' as const, readingsAMessage, hasCloud: true };
  });
  return [...plain, ...delivering];
}

/** About as many as take two seconds; quicker, it would be only the start that is measured. */
function messagesOf({ readingsAMessage, broker }: Variant, { quick }: MqttRun): number {
  const messages = readingsAMessage === 1 ? (broker === 'bare peer' ? 160_000 : 80_000) : 15_000;
  return quick ? messages / 10 : messages;
}

async function measure(undo: Undo, variant: Variant, run: MqttRun): Promise<BenchResult[]> {
  const { readingsAMessage, hasCloud } = variant;
  const load = await startLoad(undo, variant);
  if (load === undefined) return [];
  const rig = new Rig(undo);
  const cloudUrl = hasCloud ? (await rig.cloud()).part.fact('url') : undefined;
  const url = `mqtt://127.0.0.1:${load.port}`;
  const sources = { [SOURCE]: { driver: 'mqtt', url, topics: topicsOf(readingsAMessage) } };
  const gateway = await rig.gateway({ sources, cloudUrl });
  await gateway.until('the broker is connected', ({ sources: [source] }) => source?.state === 'up');
  const publisher = await load.publisher();
  const messages = messagesOf(variant, run);
  const warmUp = Math.ceil(messages * WARM_UP_SHARE);
  await send(gateway, publisher, warmUp, readingsAMessage);
  const before = gateway.usage();
  const startMs = performance.now();
  const seconds = await send(gateway, publisher, messages, readingsAMessage);
  const readings = messages * readingsAMessage;
  // Everything sealed, sent and acknowledged by the cloud is part of what a reading costs.
  const last = hasCloud
    ? await gateway.until('delivery', isDelivered, { withinMs: DELIVERED_WITHIN_MS })
    : await gateway.status();
  const deliveredSeconds = (performance.now() - startMs) / 1000;
  const stored = last.cache.bytesUsed / (readings + warmUp * readingsAMessage);
  const usage = since(before, gateway.usage());
  const results = resultsOf(variant, { readings, seconds, usage, ...memoryOf(gateway.pid) }, stored);
  if (last.uplink === undefined) return results;
  const { bytesSent, readingsSent } = last.uplink;
  return [
    ...results,
    { name: `${nameOf(variant)}: sent`, value: bytesSent / readingsSent, unit: 'B/reading' },
    { name: `${nameOf(variant)}: until all is delivered`, value: deliveredSeconds, unit: 's' },
  ];
}

/** @returns seconds from the first message until every reading is durable and acknowledged. */
async function send(gateway: Gateway, publisher: Script, messages: number, readingsAMessage: number): Promise<number> {
  const total = accepted(await gateway.status()) + messages * readingsAMessage;
  const startMs = performance.now();
  const published = publisher.ask({ messages });
  const { cache } = await gateway.until('all readings', (status) => accepted(status) >= total, {
    everyMs: LOOK_MS,
    withinMs: ACCEPTED_WITHIN_MS,
  });
  await published;
  const seconds = (performance.now() - startMs) / 1000;
  const { rejected, duplicate } = cache.ledger.sources[SOURCE] ?? {};
  if (rejected !== 0 || duplicate !== 0) throw new Error(`rejected ${rejected}, duplicate ${duplicate}`);
  return seconds;
}

function isDelivered({ backlog }: GatewayStatus): boolean {
  return backlog?.pendingReadings === 0;
}

interface Load {
  readonly port: number;
  /** When the gateway listens. */
  publisher(): Promise<Script>;
}

/** Undefined where the broker is not installed. */
async function startLoad(undo: Undo, { broker, readingsAMessage }: Variant): Promise<Load | undefined> {
  if (broker === 'bare peer') {
    const peer = await Script.start(undo, './mqtt-peer.js', [readingsAMessage]);
    return { port: peer.facts.port ?? 0, publisher: async () => peer };
  }
  const port =
    broker === 'mosquitto' ? await startMosquitto(undo) : (await Script.start(undo, './mqtt-broker.js')).facts.port;
  if (port === undefined) return undefined;
  return { port, publisher: () => Script.start(undo, './mqtt-client.js', [port, readingsAMessage]) };
}

interface Measured {
  readonly readings: number;
  readonly seconds: number;
  readonly usage: Usage;
  readonly peakMb: number;
}

function nameOf({ broker, readingsAMessage, hasCloud }: Variant): string {
  return `mqtt, ${broker}, ${readingsAMessage} a message${hasCloud ? ', to the cloud' : ''}`;
}

function resultsOf(variant: Variant, { readings, seconds, usage, peakMb }: Measured, stored: number): BenchResult[] {
  const name = nameOf(variant);
  const { readingsAMessage } = variant;
  const perSecond = readings / seconds;
  return [
    { name: `${name}: messages`, value: perSecond / readingsAMessage, unit: 'messages/s' },
    ...(readingsAMessage === 1 ? [] : [{ name: `${name}: readings`, value: perSecond, unit: 'readings/s' }]),
    { name: `${name}: CPU`, value: usage.cpuUs / readings, unit: 'µs/reading' },
    { name: `${name}: CPU, main thread`, value: usage.mainUs / readings, unit: 'µs/reading' },
    { name: `${name}: RSS peak`, value: peakMb, unit: 'MB' },
    { name: `${name}: written to the device`, value: usage.deviceBytes / readings, unit: 'B/reading' },
    { name: `${name}: stored`, value: stored, unit: 'B/reading' },
  ];
}
