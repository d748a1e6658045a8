/** What Prometheus reads: one registry of our own, names `sluice_…`, process figures by their usual names. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const PREFIX = 'sluice_';

type Labels = Readonly<Record<string, string>>;

export class Metrics {
  readonly #registry = new Registry();

  /** @param processFigures memory, CPU, event loop delay: one process has them once. */
  constructor(processFigures = false) {
    if (processFigures) collectDefaultMetrics({ register: this.#registry });
  }

  /** A figure that only grows: `sluice_<name>_total`. Asked for again by the same name, it is the same one. */
  counter<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []): Counter<Label> {
    return this.#once(
      `${name}_total`,
      (full) => new Counter({ name: full, help, labelNames, registers: [this.#registry] }),
    );
  }

  /** A figure that goes up and down. */
  gauge<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []): Gauge<Label> {
    return this.#once(name, (full) => new Gauge({ name: full, help, labelNames, registers: [this.#registry] }));
  }

  /** @param buckets upper bounds, in the unit that the name ends with. */
  histogram<Label extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly Label[] = [],
  ): Histogram<Label> {
    return this.#once(
      name,
      (full) => new Histogram({ name: full, help, buckets: [...buckets], labelNames, registers: [this.#registry] }),
    );
  }

  /** A figure that a part keeps anyway, asked for when somebody looks. `kind` says how Prometheus shall take it. */
  collect(
    kind: 'gauge' | 'counter',
    name: string,
    help: string,
    labelNames: readonly string[],
    read: () => Iterable<[Labels, number]>,
  ): void {
    const registers = [this.#registry];
    if (kind === 'gauge') {
      new Gauge({
        name: PREFIX + name,
        help,
        labelNames,
        registers,
        collect() {
          this.reset();
          for (const [labels, value] of read()) this.set(labels, value);
        },
      });
      return;
    }
    new Counter({
      name: `${PREFIX}${name}_total`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.inc(labels, value);
      },
    });
  }

  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #once<Metric>(name: string, make: (full: string) => Metric): Metric {
    const full = PREFIX + name;
    const known = this.#registry.getSingleMetric(full);
    return known === undefined ? make(full) : (known as unknown as Metric); // asked for by the same name and kind
  }
}
