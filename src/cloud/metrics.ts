/** What Prometheus reads of the receiver. */
import { Metrics } from '../runtime/metrics.ts';
import type { CloudAlarms } from './cloud-alarms.ts';
import type { Applied } from './receiver.ts';

/** A batch of 10,000 readings takes some 10 ms; a slow disk a hundred. */
const APPLY_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

export interface CloudMetrics {
  applied(applied: Applied, bytes: number, ms: number): void;
  /** A signed answer. */
  answered(kind: 'batch' | 'hello', code: string): void;
  /** An answer that could not be signed: the device or its bytes were not known. */
  unsigned(code: string): void;
  queried(route: string, ms: number): void;
  readonly contentType: string;
  text(): Promise<string>;
}

export interface MetricSources {
  readonly alarms: CloudAlarms;
  readonly requests: () => number;
  /** Tiers beside, with the readings that wait for each. */
  readonly feeds: () => readonly { readonly name: string; readonly lag: number }[];
}

export function cloudMetrics(sources: MetricSources): CloudMetrics {
  const metrics = new Metrics(true);
  const rows = metrics.counter('cloud_rows', 'Rows taken, by whether they were new', ['new']);
  const readings = metrics.counter('cloud_readings', 'Readings stored');
  const bytes = metrics.counter('cloud_batch_bytes', 'Bytes of the batches that were applied');
  const answers = metrics.counter('cloud_answers', 'Signed answers', ['kind', 'code']);
  const unsigned = metrics.counter('cloud_unsigned_answers', 'Refusals that could not be signed', ['code']);
  const apply = metrics.histogram('cloud_apply_seconds', 'From a complete body to a durable commit', APPLY_SECONDS);
  const query = metrics.histogram('cloud_query_seconds', 'Queries', APPLY_SECONDS, ['route']);
  metrics.collect('gauge', 'cloud_alarms_open', 'Alarms about gateways that nobody closed', ['kind'], () =>
    sources.alarms.openCounts().map(({ kind, count }) => [{ kind }, count]),
  );
  metrics.collect('gauge', 'cloud_requests', 'Deliveries being received or waiting', [], () => [
    [{}, sources.requests()],
  ]);
  metrics.collect('gauge', 'cloud_tier_lag_readings', 'Readings that wait for a tier beside', ['tier'], () =>
    sources.feeds().map(({ name, lag }) => [{ tier: name }, lag]),
  );
  return {
    applied(applied, size, ms) {
      rows.inc({ new: 'yes' }, applied.rows - applied.duplicates);
      rows.inc({ new: 'no' }, applied.duplicates);
      readings.inc(applied.readings);
      bytes.inc(size);
      apply.observe(ms / 1000);
    },
    answered: (kind, code) => answers.inc({ kind, code }),
    unsigned: (code) => unsigned.inc({ code }),
    queried: (route, ms) => query.observe({ route }, ms / 1000),
    contentType: metrics.contentType,
    text: () => metrics.text(),
  };
}
