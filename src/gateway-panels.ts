/**
 * What people beside the machine are shown besides what changes: the last values and windows right after a start, values on
 * request, history.
 */
import { type CacheClient, HistoryReader, HotTable, type LastWindows } from './cache/index.ts';
import type { Config } from './config/load.ts';
import { type HistoryDesk, historyDesk } from './hmi/history.ts';
import type { Hmi, LiveView } from './hmi/index.ts';
import { Remembered } from './hmi/remembered.ts';
import { ValueDesk } from './hmi/values.ts';
import { periodsOf, publishWindows } from './hmi/windows.ts';
import type { Ingest } from './ingest/index.ts';
import type { TagRegistry } from './pipeline/index.ts';
import type { Clock } from './runtime/clock.ts';

/** Last values are saved so often for a panel that looks after a crash; at an orderly end they are saved anyway. */
const HOT_SAVE_MS = 60_000;

/** The last values, saved now and then: after a restart a panel has something to show at once, marked stale. */
export async function keepHot(
  config: Config,
  cache: CacheClient,
  clock: Clock,
): Promise<{ table: HotTable; remembered: Remembered; stop(): void }> {
  const table = new HotTable(clock, { ttlMs: config.cache.hotTtl });
  const saved = await cache.loadHot();
  if (saved !== undefined) table.load(saved);
  const save = () => {
    cache.saveHot(table.save());
    timer = clock.after(HOT_SAVE_MS, save);
  };
  let timer = clock.after(HOT_SAVE_MS, save);
  return {
    table,
    remembered: new Remembered(saved, tellingOf(config)),
    stop: () => {
      timer.cancel();
      cache.saveHot(table.save());
      table.stop();
    },
  };
}

export interface Desks {
  readonly values: ValueDesk;
  readonly history: HistoryDesk;
  stop(): Promise<void>;
}

/** @param ingest undefined before the sources were started. @param hasHistory false while the disk is read-only. */
export function openDesks(
  config: Config,
  live: LiveView,
  clock: Clock,
  ingest: () => Pick<Ingest, 'ask'> | undefined,
  hasHistory: boolean,
): Desks {
  const reader = hasHistory ? new HistoryReader(config.cache, clock) : undefined;
  const typeOf = (tag: string) => live.tag(live.indexOf(tag) ?? -1)?.type;
  return {
    values: new ValueDesk(live, async (index) => ingest()?.ask(index) ?? 'down'),
    history: historyDesk(reader, typeOf, () => clock.wallMs()),
    stop: async () => reader?.stop(),
  };
}

/** Windows from before the start, until newer ones close; after the sources have registered their tags. */
export async function warmWindows(config: Config, cache: CacheClient, registry: TagRegistry, hmi: Hmi): Promise<void> {
  const periods = periodsOf(config.hmi.mqtt?.windows ?? []);
  if (hmi.port === undefined || periods.length === 0) return;
  const { names, windows }: LastWindows = await cache.lastWindows(periods);
  // A source that tells registers its tags by and by; others that are not registered now have been taken out.
  const tells = tellingOf(config);
  const tagOf = (at: number) => {
    const name = names[at] ?? '';
    const known = registry.byName(name)?.definition;
    return known ?? (tells(name.split('/')[0] ?? '') ? { name } : undefined);
  };
  for (const each of windows) publishWindows(each, tagOf, hmi, true);
}

/** Whether a source, by its name, tells by itself. */
function tellingOf({ sources }: Config): (source: string) => boolean {
  const telling = new Set(sources.flatMap(({ name, prepared }) => (prepared.open.mode === 'listen' ? [name] : [])));
  return (source) => telling.has(source);
}
