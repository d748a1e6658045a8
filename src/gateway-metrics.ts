/** The gateway's figures for Prometheus, besides those that its parts publish themselves. */
import type { CacheClient, CacheStats } from './cache/types.ts';
import type { Hmi } from './hmi/index.ts';
import type { Pipeline } from './pipeline/pipeline.ts';
import type { Metrics } from './runtime/metrics.ts';
import type { Uplink } from './uplink/index.ts';

export interface Measured {
  readonly uplink: Uplink | undefined;
  readonly hmi: Hmi;
  readonly cache: Pick<CacheClient, 'uncommittedBytes'>;
  readonly pipeline: Pipeline;
  /** As last asked for. */
  readonly stats: () => CacheStats | undefined;
  readonly registry: { readonly size: number };
}

type Labels = Readonly<Record<string, string>>;
const one = (value: number | undefined): [Labels, number][] => (value === undefined ? [] : [[{}, value]]);

export function publishMetrics(metrics: Metrics, measured: Measured): void {
  publishPipeline(metrics, measured);
  publishCache(metrics, measured);
  if (measured.uplink !== undefined) publishUplink(metrics, measured.uplink);
  const { hmi } = measured;
  metrics.collect('gauge', 'hmi_clients', 'Panels signed in', [], () => one(hmi.stats().clients));
  metrics.collect('counter', 'hmi_messages', 'Messages sent to panels', [], () => one(hmi.stats().messages));
  metrics.collect('counter', 'hmi_refused', 'Connections of panels turned away', [], () => one(hmi.stats().refused));
}

function publishPipeline(metrics: Metrics, { pipeline, registry }: Measured): void {
  metrics.collect('gauge', 'tags', 'Tags registered', [], () => one(registry.size));
  metrics.collect('gauge', 'alarms_active', 'Alarms raised and not cleared', [], () =>
    one(pipeline.activeAlarms().length),
  );
}

function publishCache(metrics: Metrics, { cache, stats }: Measured): void {
  const account = ['source', 'state'];
  metrics.collect('counter', 'readings', 'Readings at the gate, by source and what became of them', account, () =>
    Object.entries(stats()?.ledger.sources ?? {}).flatMap(([source, sums]) =>
      Object.entries(sums).map(([state, count]): [Labels, number] => [{ source, state }, count]),
    ),
  );
  metrics.collect(
    'gauge',
    'ledger_readings',
    'Accepted readings, by target and where they are',
    ['target', 'source', 'state'],
    () =>
      Object.entries(stats()?.ledger.targets ?? {}).flatMap(([target, sources]) =>
        Object.entries(sources).flatMap(([source, sums]) =>
          Object.entries(sums).map(([state, count]): [Labels, number] => [{ target, source, state }, count]),
        ),
      ),
  );
  metrics.collect('counter', 'rejected', 'Readings rejected, by source and reason', ['source', 'reason'], () =>
    Object.entries(stats()?.ledger.rejections ?? {}).flatMap(([source, reasons]) =>
      Object.entries(reasons).map(([reason, count]): [Labels, number] => [{ source, reason }, count]),
    ),
  );
  const dropped = ['target', 'source', 'reason'];
  metrics.collect('gauge', 'dropped_readings', 'Accepted readings given up for want of room, by reason', dropped, () =>
    Object.entries(stats()?.ledger.drops ?? {}).flatMap(([target, sources]) =>
      Object.entries(sources).flatMap(([source, reasons]) =>
        Object.entries(reasons).map(([reason, count]): [Labels, number] => [{ target, source, reason }, count]),
      ),
    ),
  );
  metrics.collect('gauge', 'uncommitted_bytes', 'Readings in memory, not on disk yet', [], () =>
    one(cache.uncommittedBytes()),
  );
  metrics.collect('gauge', 'cache_bytes', 'Size of the cache on disk', [], () => one(stats()?.bytesUsed));
  metrics.collect('gauge', 'cache_bytes_max', 'What the cache may grow to', [], () => one(stats()?.bytesMax));
  metrics.collect('gauge', 'cache_log_bytes', 'Size of the log beside the cache', [], () => one(stats()?.walBytes));
  metrics.collect(
    'gauge',
    'cache_log_pinned',
    '1 while a process that reads the cache keeps its log from shrinking',
    [],
    () => one(stats() === undefined ? undefined : Number(stats()?.walPinned)),
  );
  metrics.collect('counter', 'cache_commits', 'Groups committed', [], () => one(stats()?.commits));
  metrics.collect('gauge', 'ladder_level', 'Step of the degradation ladder, 0 to 5', [], () =>
    one(stats()?.ladder.level),
  );
  metrics.collect('gauge', 'ladder_share', 'What drives the ladder, as shares of its limits', ['of'], () => {
    const { disk, memory, age } = stats()?.ladder ?? {};
    return Object.entries({ disk, memory, age }).flatMap(([of, share]): [Labels, number][] =>
      share === undefined ? [] : [[{ of }, share]],
    );
  });
  metrics.collect('counter', 'disk_written_bytes', 'Written to devices by this process, as the kernel counts', [], () =>
    one(stats()?.wear?.written),
  );
  metrics.collect('gauge', 'write_budget_left_bytes', 'What hurried commits may still write today', [], () =>
    one(stats()?.writeBudget?.leftBytes),
  );
  metrics.collect('counter', 'cache_damaged_blocks', 'Blocks set aside because their checksum failed', [], () =>
    one(stats()?.damagedBlocks),
  );
}

function publishUplink(metrics: Metrics, uplink: Uplink): void {
  metrics.collect('gauge', 'uplink_pending_rows', 'Rows not acknowledged by the cloud', [], () =>
    one(uplink.state().pendingRows),
  );
  metrics.collect('counter', 'uplink_bytes', 'Sealed bytes sent, retries included', [], () =>
    one(uplink.state().bytesSent),
  );
  metrics.collect('counter', 'uplink_batches', 'Batches acknowledged', [], () => one(uplink.state().batches));
  metrics.collect('counter', 'uplink_resent', 'Attempts after the first', [], () => one(uplink.state().resent));
  metrics.collect(
    'gauge',
    'uplink_freshness_seconds',
    'Age of the newest delivered live reading at its acknowledgement',
    [],
    () => {
      const { freshnessMs } = uplink.state();
      return one(freshnessMs === undefined ? undefined : freshnessMs / 1000);
    },
  );
  metrics.collect('gauge', 'uplink_held', 'Whether delivery is held until a person looks', [], () =>
    one(uplink.state().holds.length > 0 ? 1 : 0),
  );
  metrics.collect('counter', 'uplink_ignored_answers', 'Answers that changed nothing, by why', ['why'], () =>
    Object.entries(uplink.state().ignored).map(([why, count]): [Labels, number] => [{ why }, count]),
  );
}
