/**
 * How the gateway is. The cache file tells what is kept, delivered and pending, also when the gateway is dead; a running
 * gateway with `http:` also tells how its sources and its uplink are now.
 */
import { request } from 'undici';
import {
  type CacheHolder,
  type CacheReader,
  cacheHolder,
  type Ledger,
  logReaders,
  type PendingView,
  storageView,
  type WearStats,
} from '../cache/index.ts';
import type { AlarmRow, LadderState } from '../cache/types.ts';
import type { Config } from '../config/load.ts';
import type { GatewayStatus } from '../gateway.ts';
import { systemClock } from '../runtime/clock.ts';
import { Exit, type ExitCode } from './exit.ts';
import { type CacheChoice, openLocalCache } from './local-cache.ts';
import { bytes, count, fold, labelled, type Output, span, table, time } from './output.ts';
import { type DiskView, printDisk, printLadder, printStorage, printWear } from './status-storage.ts';

/** A gateway that hangs must not hang the one who looks for the reason. */
const ASK_TIMEOUT_MS = 2000;
/** Of reasons of rejection; `sluice ledger` has all, by source. */
const REASONS_SHOWN = 3;

export interface StatusCommand extends CacheChoice {
  readonly json?: boolean;
}

interface Report {
  readonly cache: string;
  readonly holder: CacheHolder | undefined;
  /** Why the running gateway was not asked, or did not answer. */
  readonly silent: string | undefined;
  readonly live: GatewayStatus | undefined;
  /** Sums over all sources. */
  readonly received: number;
  readonly accepted: number;
  readonly committed: number;
  readonly rejected: number;
  /** Reason → readings. */
  readonly rejections: Readonly<Record<string, number>>;
  /** What its files take, whether it answers or not. */
  readonly disk: DiskView;
  readonly bytesMax: number | undefined;
  readonly tags: number;
  readonly pending: readonly PendingView[];
  readonly alarms: readonly AlarmRow[];
  /** Now, or after the last step that is in the file. */
  readonly ladder: LadderState | undefined;
  /** Of the running gateway, else as of the last checkpoint; undefined before it. */
  readonly wear: WearStats | undefined;
  readonly runs: ReturnType<CacheReader['runs']>;
}

export async function status(options: StatusCommand, output: Output): Promise<ExitCode> {
  const { cache, path, config } = openLocalCache(options);
  try {
    const holder = cacheHolder(path);
    const { live, silent } = await askGateway(config, holder);
    const account = cache.ledger();
    const sum = (of: 'received' | 'accepted' | 'committed' | 'rejected') =>
      Object.values(account.sources).reduce((all, each) => all + each[of], 0);
    const report: Report = {
      cache: path,
      holder,
      silent,
      live,
      received: sum('received'),
      accepted: sum('accepted'),
      committed: sum('committed'),
      rejected: sum('rejected'),
      rejections: rejectionsOf(account),
      disk: { ...storageView(path), logReaders: logReaders(path, [holder?.pid]) },
      bytesMax: config?.cache.bytesMax,
      tags: cache.tags().length,
      pending: cache.pending(),
      // On a read-only disk only the gateway knows.
      alarms: live?.cache.readOnly === true ? live.alarms : cache.alarms(),
      ladder: live?.cache.ladder ?? cache.ladder(),
      wear: live?.cache.wear ?? cache.wear(config?.cache.endurance),
      runs: cache.runs(),
    };
    if (options.json === true) output.json(report);
    else print(report, output);
    return isWell(report) ? Exit.fine : Exit.finding;
  } finally {
    cache.close();
  }
}

/** Of all sources together, most first. */
function rejectionsOf({ rejections }: Ledger): Record<string, number> {
  const sums = new Map<string, number>();
  for (const reasons of Object.values(rejections))
    for (const [reason, readings] of Object.entries(reasons)) sums.set(reason, (sums.get(reason) ?? 0) + readings);
  return Object.fromEntries([...sums].sort(([, a], [, b]) => b - a));
}

function isWell({ holder, live, alarms }: Report): boolean {
  const sourcesUp = live?.sources.every(({ state }) => state === 'up') ?? true;
  return (holder ?? live) !== undefined && sourcesUp && alarms.length === 0 && (live?.uplink?.holds.length ?? 0) === 0;
}

/** @param holder of the lock: on a file system that was read-only from the start there is none, and a gateway runs all the same. */
async function askGateway(
  config: Config | undefined,
  holder: CacheHolder | undefined,
): Promise<{ live?: GatewayStatus; silent?: string }> {
  if (config?.http === undefined)
    return holder === undefined
      ? {}
      : { silent: 'was not asked how it is now: that needs http: in its configuration, and -c' };
  const { listen, token } = config.http;
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  try {
    const { statusCode, body } = await request(`http://${host}:${listen.port}/status`, {
      headersTimeout: ASK_TIMEOUT_MS,
      bodyTimeout: ASK_TIMEOUT_MS,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });
    const text = await body.text();
    if (statusCode !== 200) return { silent: `answered ${statusCode} when asked` };
    const live = JSON.parse(text) as GatewayStatus;
    // Without a lock it may be somebody else who answers there.
    return holder === undefined && live.gateway !== config.gateway.id ? {} : { live };
  } catch {
    if (holder === undefined) return {};
    return { silent: `does not answer on ${host}:${listen.port}: it starts, ends or hangs. Its log tells` };
  }
}

function print(report: Report, output: Output): void {
  const { live, holder } = report;
  const nowMs = systemClock.wallMs();
  if (holder === undefined && live === undefined)
    output.line(fold(`The gateway is NOT RUNNING. What follows is what ${report.cache} holds.`));
  else {
    const name = live === undefined ? 'The gateway' : `Gateway ${live.gateway} (${live.version})`;
    const since = live === undefined ? '' : `, up for ${span(nowMs - live.startedMs)}`;
    output.line(`${name} runs as process ${live?.pid ?? holder?.pid ?? '?'}${since}.`);
    if (report.silent !== undefined) output.line(fold(`It ${report.silent}.`));
  }
  const lastRun = report.runs.at(-1);
  if (holder === undefined && live === undefined && lastRun !== undefined && !lastRun.clean) {
    output.line(fold('It did not end in order: up to one commit interval of polled readings may be missing.'));
  }
  if (live === undefined) {
    const { writtenMs } = report.disk;
    output.line(
      `As of ${time(writtenMs)}, when the file was last written (${span(Math.max(0, nowMs - writtenMs))} ago):`,
    );
  }
  output.line();
  if (live !== undefined) printSources(live, nowMs, output);
  printCounts(report, output);
  printPending(report, nowMs, output);
  if (live !== undefined) printStorage(live.cache, report.pending, nowMs, output, report.disk);
  else {
    printDisk(report.disk, report.bytesMax, output);
    if (report.ladder !== undefined) printLadder(report.ladder, output);
  }
  if (report.wear !== undefined) printWear(report.wear, output);
  if (live !== undefined) printLive(live, nowMs, output);
  printAlarms(report.alarms, nowMs, output);
}

function printSources({ sources }: GatewayStatus, nowMs: number, output: Output): void {
  const rows = sources.flatMap((source) => [
    [source.source, source.driver, source.state, span(Math.max(0, nowMs - source.since)), source.error?.message ?? ''],
    ...(source.error?.hint === undefined ? [] : [['', '', '', '', `→ ${source.error.hint}`]]),
    ...source.units
      .filter(({ state }) => state === 'down')
      .map((unit) => [`  ${unit.unit}`, '', 'down', span(Math.max(0, nowMs - unit.since)), unit.error?.message ?? '']),
  ]);
  output.line(table(['source', 'driver', 'state', 'for', 'why'], rows));
  output.line();
}

function printCounts({ accepted, committed, tags, rejected, rejections }: Report, output: Output): void {
  const durable = accepted === committed ? ', all committed' : `, but only ${count(committed)} committed`;
  output.line(`accepted   ${count(accepted)} readings of ${count(tags)} ${tags === 1 ? 'tag' : 'tags'}${durable}`);
  if (rejected === 0) return;
  const reasons = Object.entries(rejections);
  const shown = reasons.slice(0, REASONS_SHOWN).map(([reason, readings]) => `${count(readings)} ${reason}`);
  const more = reasons.length > REASONS_SHOWN ? [`${reasons.length - REASONS_SHOWN} more reasons`] : [];
  output.line(labelled('rejected', `${count(rejected)} (${[...shown, ...more].join(', ')})`));
}

function printPending({ pending, live }: Report, nowMs: number, output: Output): void {
  if (pending.length === 0)
    output.line(`pending    nothing: all is delivered${live?.uplink === undefined ? ', or there is no uplink' : ''}`);
  for (const { target, class: name, rows, bytes: size, oldestMs } of pending) {
    output.line(
      `pending    ${count(rows)} ${name} rows to ${target}, ${bytes(size)}, the oldest ${span(nowMs - oldestMs)} old`,
    );
  }
}

function printLive({ uplink }: GatewayStatus, nowMs: number, output: Output): void {
  if (uplink === undefined) return;
  const last = Math.max(...Object.values(uplink.lanes).map(({ lastAckMs }) => lastAckMs ?? 0));
  const ago = last > 0 ? `, the last acknowledgement ${span(nowMs - last)} ago` : '';
  output.line(`uplink     ${count(uplink.delivered)} delivered since the start, breaker ${uplink.breaker}${ago}`);
  if (uplink.lastError !== undefined) output.line(`           last error: ${uplink.lastError}`);
  for (const hold of uplink.holds) {
    output.line(`           HELD: ${hold.text}`);
    output.line(`           → ${hold.hint}`);
  }
}

function printAlarms(alarms: readonly AlarmRow[], nowMs: number, output: Output): void {
  if (alarms.length === 0) {
    output.line('alarms     none');
    return;
  }
  output.line();
  const rows = alarms.map(({ id, state, at, text }) => [
    id,
    state,
    `${time(at)} (${span(Math.max(0, nowMs - at))} ago)`,
    text,
  ]);
  output.line(table(['alarm', 'state', 'since', 'what'], rows));
}
