/** `sluice forget`: removes what this disk holds of a tag, whether the gateway runs or not. What a cloud has, it keeps. */

import { statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { drivers } from '../../drivers/index.ts';
import { cacheHolder, type ForgetReport, openCache, postForget, readCache } from '../cache/index.ts';
import { type Config, loadConfig } from '../config/load.ts';
import { codeOf, SluiceError } from '../errors.ts';
import { sleep, systemClock } from '../runtime/clock.ts';
import { CLOUD_TARGET } from '../uplink/index.ts';
import { Exit, type ExitCode } from './exit.ts';
import { type CacheChoice, openLocalCache, otherTags } from './local-cache.ts';
import { count, type Output, table, time } from './output.ts';
import { version } from './version.ts';

const LOOK_MS = 200;

export interface ForgetCommand extends CacheChoice {
  readonly list?: boolean;
  readonly reason?: string;
  /** Milliseconds. */
  readonly wait: number;
  readonly json?: boolean;
}

/** @param tag needed but for `list`. */
export async function forget(tag: string | undefined, options: ForgetCommand, output: Output): Promise<ExitCode> {
  if (options.list === true) return list(options, output);
  if (tag === undefined || options.cache !== undefined) throw usage(tag);
  const config = loadConfig(options.config, drivers);
  const { path } = config.cache;
  requireKnown(tag, path);
  if (isConfigured(tag, config))
    output.problem(
      `${tag} is in the configuration: what its source sends from now on is kept again; remove it there first`,
    );
  const by = who();
  becomeOwner(path);
  const { id } = postForget(path, { tag, reason: options.reason ?? null, by, atMs: systemClock.wallMs() });
  const report = await finished(id, config, options.wait);
  if (options.json === true) output.json(report ?? { id, tag, phase: 'posted' });
  else print(id, tag, report, output);
  return report === undefined ? Exit.finding : Exit.fine;
}

function usage(tag: string | undefined): SluiceError {
  return tag === undefined
    ? new SluiceError('usage.forget', 'stop', 'which tag shall be forgotten?', {
        hint: 'sluice forget <tag>, or --list',
      })
    : new SluiceError(
        'usage.forget',
        'stop',
        '--cache is for looking (--list): a cache is changed with its configuration',
      );
}

function requireKnown(tag: string, path: string): void {
  const cache = readCache(path);
  try {
    const other = otherTags(tag, cache);
    if (other !== undefined) throw new SluiceError('usage.forget', 'stop', `there is no tag ${tag}`, { hint: other });
  } finally {
    cache.close();
  }
}

function isConfigured(tag: string, { sources }: Config): boolean {
  return sources.some(({ name: source, prepared }) =>
    prepared.groups.some(({ tags }) => tags.some(({ name }) => `${source}/${name}` === tag)),
  );
}

function who(): string {
  const { username, uid } = userInfo();
  const { SUDO_USER: sudo } = process.env;
  return `${username} (uid ${uid})${sudo === undefined ? '' : `, sudo by ${sudo}`}`;
}

/** What root makes in the cache's folder the gateway could not read. */
function becomeOwner(path: string): void {
  const { uid, gid } = statSync(path);
  if (process.geteuid?.() !== 0 || uid === 0) return;
  process.setegid?.(gid);
  process.seteuid?.(uid);
}

/** By the gateway that runs, or here. @returns the last that is known of it; undefined when nobody has taken it yet. */
async function finished(id: string, config: Config, waitMs: number): Promise<ForgetReport | undefined> {
  const { path } = config.cache;
  const untilMs = systemClock.monoMs() + waitMs;
  const close = cacheHolder(path) === undefined ? await work(config) : undefined;
  try {
    for (;;) {
      const report = reportOn(id, path);
      if (report?.phase === 'done' || systemClock.monoMs() >= untilMs) return report;
      await sleep(systemClock, LOOK_MS);
    }
  } finally {
    await close?.();
  }
}

/** The cache's own thread does it, as in the gateway. Nothing is cut here, and so nothing has to be waited for. */
async function work({ cache, uplink }: Config): Promise<(() => Promise<void>) | undefined> {
  const isUsed = uplink !== undefined;
  try {
    const client = await openCache(cache, {
      version: version(),
      reason: 'forget',
      targets: [{ name: CLOUD_TARGET, required: isUsed, dormant: !isUsed }],
    });
    return () => client.close();
  } catch (thrown) {
    // A gateway that started just now finds the request.
    if (codeOf(thrown) === 'cache.locked') return undefined;
    throw thrown;
  }
}

function reportOn(id: string, path: string): ForgetReport | undefined {
  const cache = readCache(path);
  try {
    return cache.forgotten().find((report) => report.id === id);
  } finally {
    cache.close();
  }
}

function print(id: string, tag: string, report: ForgetReport | undefined, output: Output): void {
  if (report === undefined) {
    output.problem(
      `nobody has taken the request ${id} yet: it is done when the gateway has room and time; sluice forget --list`,
    );
    return;
  }
  output.line(report.phase === 'done' ? `${tag} is forgotten on this disk: ${removed(report)}` : underWay(report));
  output.line('What was delivered is in the cloud and stays there.');
}

function removed({ removed: { pending, kept, windows, deadLetters } }: ForgetReport): string {
  const parts = [`${count(kept)} readings of the history`, `${count(pending)} that were not delivered (written off)`];
  return [...parts, `${count(windows)} windows`, `${count(deadLetters)} dead letters`].join(', ');
}

function underWay(report: ForgetReport): string {
  if (report.phase === 'journal' && report.inFlight > 0)
    return `${report.tag} is being forgotten: ${count(report.inFlight)} blocks wait for the cloud's answer; it goes on by itself`;
  if (report.phase === 'wipe')
    return `${report.tag} is forgotten; free pages are wiped when nobody reads the cache any more`;
  return `${report.tag} is being forgotten; it goes on by itself, also after a restart`;
}

function list(options: ForgetCommand, output: Output): ExitCode {
  const { cache } = openLocalCache(options);
  try {
    const reports = cache.forgotten();
    if (options.json === true) output.json(reports);
    else if (reports.length === 0) output.line('Nothing was ever forgotten.');
    else output.line(table(['asked at', 'tag', 'by', 'state', 'readings', 'reason'], reports.map(cells)));
    return Exit.fine;
  } finally {
    cache.close();
  }
}

function cells({ atMs, tag, by, phase, removed: gone, reason }: ForgetReport): string[] {
  const state = phase === 'done' ? 'done' : `under way (${phase})`;
  return [time(atMs), tag, by, state, count(gone.pending + gone.kept), reason ?? ''];
}
