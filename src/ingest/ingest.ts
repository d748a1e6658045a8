/** All sources: registers their planned tags, then runs each by itself. */
import type { SourceConfig } from '../config/load.ts';
import type { Metrics } from '../runtime/metrics.ts';
import type { IngestOptions } from './ports.ts';
import type { Asked } from './read-through.ts';
import { SourceRunner } from './runner.ts';
import type { SourceState } from './state.ts';

export interface Ingest {
  /** In the order of the config. */
  states(): readonly SourceState[];
  /** Registry indexes of the tags that are read less often while the disk fills: polled, in a group of low priority. */
  slowable(): readonly number[];
  /**
   * Reads the group of a tag out of turn, once however many ask; resolves when its reading was pushed, or with the reason why
   * there is none. `tells`: the tag cannot be asked.
   */
  ask(index: number): Promise<Asked | 'tells'>;
  /** Closes every session; nothing is pushed afterwards. */
  stop(): Promise<void>;
}

/**
 * Returns at once: a source that is down is retried for ever, and none waits for another.
 * @throws registry.full before anything is opened.
 */
export function startIngest(
  sources: readonly SourceConfig[],
  options: IngestOptions & { readonly metrics?: Metrics },
): Ingest {
  const runners = sources.map((source) => new SourceRunner(source, options));
  const states = () => runners.map((runner) => runner.state);
  if (options.metrics !== undefined) publish(options.metrics, states);
  const askable = new Map<number, () => Promise<Asked>>();
  for (const runner of runners)
    for (const [group, indexes] of runner.askable.entries())
      for (const index of indexes) askable.set(index, () => runner.ask(group));
  for (const runner of runners) runner.start();
  return {
    states,
    slowable: () => runners.flatMap((runner) => runner.slowable),
    ask: async (index) => askable.get(index)?.() ?? 'tells',
    async stop() {
      await Promise.all(runners.map((runner) => runner.stop()));
    },
  };
}

function publish(metrics: Metrics, states: () => readonly SourceState[]): void {
  const each = (read: (state: SourceState) => number) => () =>
    states().map((state): [{ source: string }, number] => [{ source: state.source }, read(state)]);
  const labels = ['source'];
  metrics.collect(
    'gauge',
    'source_up',
    'Whether the source is connected',
    labels,
    each(({ state }) => Number(state === 'up' || state === 'degraded')),
  );
  metrics.collect(
    'gauge',
    'source_units_down',
    'Units behind the source that give no answer',
    labels,
    each(({ units }) => units.filter((unit) => unit.state === 'down').length),
  );
  metrics.collect(
    'counter',
    'source_reads',
    'Rounds of reads, or deliveries',
    labels,
    each((state) => state.reads),
  );
  metrics.collect(
    'counter',
    'source_reads_skipped',
    'Reads left out, never queued',
    labels,
    each((state) => state.skipped),
  );
  metrics.collect(
    'counter',
    'source_reads_asked',
    'Groups read out of turn, because somebody asked for a value past its time',
    labels,
    each((state) => state.asked),
  );
  metrics.collect(
    'counter',
    'source_overruns',
    'Rounds that took longer than their period',
    labels,
    each((state) => state.overruns),
  );
  metrics.collect(
    'counter',
    'source_connects',
    'Connections made',
    labels,
    each((state) => state.connects),
  );
  metrics.collect(
    'counter',
    'source_failures',
    'Connections lost or refused',
    labels,
    each((state) => state.failures),
  );
  metrics.collect(
    'counter',
    'source_tags_refused',
    'New tags turned away: pipeline.tagsMax is reached',
    labels,
    each((state) => state.tagsRefused),
  );
}
