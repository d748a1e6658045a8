/**
 * The demo: plant, cloud and gateway as processes of their own, watched once a second, and at the end the proof by the
 * oracle. Ends in the order that lets nothing be argued away: the sensors fall silent, the gateway takes their last
 * message, is told to end, drains, and only then both ends are compared.
 */
import { readCache } from '../cache/index.ts';
import { SluiceError } from '../errors.ts';
import { PLANT_TAGS } from '../plant/model.ts';
import { type Clock, sleep } from '../runtime/clock.ts';
import * as ends from './ends.ts';
import { FigureBook, type Figures } from './figures.ts';
import {
  judgeContent,
  judgeLedger,
  judgeMessages,
  type LedgerSums,
  lastReadings,
  registerClaims,
  type Verdict,
  verdict,
} from './oracle.ts';
import { type DemoFolder, demoFolder, freePorts, Parts } from './parts.ts';
import { killAll } from './process.ts';

const LOOK_MS = 1000;
/** With an outage the backlog needs a moment to drain before the end is the end. */
const DRAIN_MAX_MS = 60_000;
const SETTLE_MAX_MS = 10_000;
const SETTLE_LOOK_MS = 100;
const MODBUS_SOURCE = 'plc';
const MQTT_SOURCE = 'climate';
/** No reading is later than this: one clock serves all parts. */
const AHEAD_MS = 60_000;

export interface DemoOptions {
  readonly dir?: string | undefined;
  readonly seed: number;
  /** Undefined: until `stopped`. */
  readonly forMs: number | undefined;
  /** The cloud is killed in the middle (or 10 s after the start) and is away for this long. */
  readonly outageMs: number | undefined;
  readonly clock: Clock;
  readonly stopped: AbortSignal;
}

export interface DemoView {
  started(places: DemoPlaces): void;
  figures(figures: Figures): void;
  note(text: string): void;
}

export interface DemoPlaces {
  readonly folder: string;
  readonly http: string;
  readonly cloud: string;
  readonly hmiPort: number;
}

export interface DemoSummary {
  readonly oracle: Verdict;
  readonly ledger: LedgerSums;
  readonly seconds: number;
  readonly outageSeconds: number;
  /** The most that was pending at once. */
  readonly pendingMax: number;
  readonly bytesPerReading: number | undefined;
  readonly readingsPerSecond: number;
  readonly gatewayExit: number;
}

export async function runDemo(options: DemoOptions, view: DemoView): Promise<DemoSummary> {
  const folder = demoFolder(options.dir);
  const died = new AbortController();
  const parts = new Parts({
    folder,
    ports: await freePorts(),
    clock: options.clock,
    seed: options.seed,
    onDied: (error) => died.abort(error),
  });
  const atOnce = () => {
    killAll();
    folder.remove();
  };
  process.once('exit', atOnce);
  const fromMs = options.clock.wallMs();
  let holds = false;
  try {
    await parts.startPlant();
    await parts.startCloud();
    await parts.startGateway();
    const subscribedMs = await ends.sourceUp(parts, MQTT_SOURCE, options.clock);
    view.started({ folder: folder.path, http: parts.httpUrl, cloud: parts.cloudUrl, hmiPort: parts.hmiPort });
    const watched = await watch(parts, options, view, died.signal);
    const summary = await prove(parts, folder, { ...watched, fromMs, subscribedMs }, options.clock, view);
    holds = summary.oracle.holds;
    return summary;
  } finally {
    await parts.stopAll();
    // What failed is looked into: its logs and data stay.
    if (holds) folder.remove();
    process.off('exit', atOnce);
  }
}

export interface Watched {
  /** Wall clock before the plant moved. */
  readonly fromMs: number;
  /** Wall clock when the gateway first heard the sensors. */
  readonly subscribedMs: number;
  /** Undefined: after a reconnect, as the plant's own broker does. */
  readonly brokerMayRepeat?: boolean;
  readonly seconds: number;
  readonly outageMs: number;
  readonly pendingMax: number;
  readonly last: Figures | undefined;
}

async function watch(
  parts: Parts,
  options: DemoOptions,
  view: DemoView,
  died: AbortSignal,
): Promise<Omit<Watched, 'fromMs' | 'subscribedMs'>> {
  const { clock, forMs = Number.POSITIVE_INFINITY, outageMs = 0 } = options;
  const startMs = clock.monoMs();
  const book = new FigureBook();
  let pendingMax = 0;
  let last: Figures | undefined;
  const outage = new Outage(
    parts,
    outageMs,
    Number.isFinite(forMs) ? Math.max(0, (forMs - outageMs) / 2) : 10_000,
    view,
  );
  for (let round = 1; !options.stopped.aborted; round++) {
    if (died.aborted) throw died.reason;
    const passedMs = clock.monoMs() - startMs;
    await outage.at(passedMs);
    const look = await ends.look(parts).catch(async (error: unknown) => {
      // A part that has just died is the reason; its end is heard a moment after its silence.
      await sleep(clock, LOOK_MS, died).catch(() => {});
      throw died.aborted ? died.reason : error;
    });
    last = book.add(look);
    pendingMax = Math.max(pendingMax, last.pending);
    view.figures(last);
    if (passedMs >= forMs) break;
    const nextMs = Math.min(round * LOOK_MS, forMs) - (clock.monoMs() - startMs);
    await sleep(clock, nextMs, options.stopped).catch(() => {});
  }
  await outage.end();
  return { seconds: (clock.monoMs() - startMs) / 1000, outageMs: outage.lengthMs, pendingMax, last };
}

/** Kills the cloud at its time and starts it again when the outage is over. */
class Outage {
  readonly lengthMs: number;
  readonly #parts: Parts;
  readonly #fromMs: number;
  readonly #view: DemoView;
  #phase: 'before' | 'during' | 'after';

  constructor(parts: Parts, lengthMs: number, fromMs: number, view: DemoView) {
    this.#parts = parts;
    this.lengthMs = lengthMs;
    this.#fromMs = fromMs;
    this.#view = view;
    this.#phase = lengthMs > 0 ? 'before' : 'after';
  }

  async at(passedMs: number): Promise<void> {
    if (this.#phase === 'before' && passedMs >= this.#fromMs) {
      await this.#parts.killCloud();
      this.#phase = 'during';
      this.#view.note('the cloud is killed (SIGKILL): watch pending grow');
    } else if (this.#phase === 'during' && passedMs >= this.#fromMs + this.lengthMs) await this.end();
  }

  async end(): Promise<void> {
    if (this.#phase === 'during') {
      await this.#parts.startCloud();
      this.#view.note('the cloud is back: watch pending drain');
    }
    this.#phase = 'after';
  }
}

export async function prove(
  parts: Parts,
  folder: DemoFolder,
  watched: Watched,
  clock: Clock,
  view: DemoView,
): Promise<DemoSummary> {
  view.note('ending: the sensors fall silent, the gateway drains');
  await ends.quietSensors(parts);
  const published = await ends.published(parts);
  const heard = published.filter(({ payload }) => Number(JSON.parse(payload).ts) >= watched.subscribedMs);
  // The plant's broker acknowledges to a sensor before it passes the message on: by content, never by counting.
  await until(clock, SETTLE_MAX_MS, async () => holdsAll(folder.cache, lastReadings(heard)));
  await until(clock, DRAIN_MAX_MS, async () => isDrained(parts));
  const { uplink, sources } = await ends.gatewayStatus(parts);
  const reconnected = sources.some(({ source, connects }) => source === MQTT_SOURCE && connects > 1);
  const brokerMayRepeat = watched.brokerMayRepeat ?? reconnected;
  const gatewayExit = await parts.stopGateway();
  const cache = readCache(folder.cache);
  try {
    const ledger = ends.ledgerSums(cache);
    const digest = cache.digest();
    const readings = await ends.cloudReadings(parts, watched.fromMs, clock.wallMs() + AHEAD_MS);
    const ofSensors = readings.filter(
      (reading) => reading.tag.startsWith(`${MQTT_SOURCE}/`) && reading.status !== 'bad',
    );
    const claims = registerClaims(readings, MODBUS_SOURCE, PLANT_TAGS);
    const wrong = await ends.wrongClaims(parts, claims);
    const problems = [
      ...judgeLedger(ledger),
      ...judgeContent(digest, await ends.cloudDigest(parts)),
      ...judgeMessages(published, ofSensors, watched.subscribedMs, brokerMayRepeat),
      ...wrong.map((claim) => `${claim.tag}: the register never held ${claim.value} around ${claim.toMs}`),
      ...(gatewayExit === 0 ? [] : [`the gateway ended with exit code ${gatewayExit}`]),
      ...(claims.length === 0 ? ['no register was read'] : []),
      ...(heard.length === 0 ? ['no sensor published'] : []),
    ];
    const counts = { tags: digest.size, readings: readings.length, messages: heard.length, registers: claims.length };
    return {
      oracle: verdict(problems, counts),
      ledger,
      seconds: watched.seconds,
      outageSeconds: watched.outageMs / 1000,
      pendingMax: watched.pendingMax,
      bytesPerReading:
        uplink !== undefined && uplink.readingsSent > 0 ? uplink.bytesSent / uplink.readingsSent : undefined,
      readingsPerSecond: watched.seconds > 0 ? ledger.accepted / watched.seconds : 0,
      gatewayExit,
    };
  } finally {
    cache.close();
  }
}

/** Whether the gateway has committed all of these. */
function holdsAll(path: string, readings: readonly { readonly tag: string; readonly timeMs: number }[]): boolean {
  const cache = readCache(path);
  try {
    return readings.every(({ tag, timeMs }) => cache.range(tag, timeMs, timeMs).length > 0);
  } finally {
    cache.close();
  }
}

/** Polls go on, so a little is always under way: drained means that nothing old waits. */
async function isDrained(parts: Parts): Promise<boolean> {
  const { backlog, nowMs } = await ends.gatewayStatus(parts);
  return backlog === undefined || backlog.oldestMs === undefined || nowMs - backlog.oldestMs < SETTLE_MAX_MS;
}

async function until(clock: Clock, withinMs: number, holds: () => Promise<boolean>): Promise<void> {
  const endMs = clock.monoMs() + withinMs;
  while (!(await holds())) {
    // What does not come in time is for the oracle to find and name.
    if (clock.monoMs() >= endMs) return;
    await sleep(clock, SETTLE_LOOK_MS);
  }
}

/** @throws usage.demo when the outage does not fit. */
export function checkDemo(forMs: number | undefined, outageMs: number | undefined): void {
  if (forMs === undefined || outageMs === undefined || outageMs < forMs) return;
  throw new SluiceError('usage.demo', 'stop', `an outage of ${outageMs} ms does not fit into a demo of ${forMs} ms`, {
    hint: 'give --for more time than --outage',
  });
}
