// A device at the seam of the driver contract: it answers, refuses, hangs or hangs up as the test says.
import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import type { Receipt } from '../../src/cache/types.ts';
import { tagFieldsSchema } from '../../src/config/fields.ts';
import type { SourceConfig } from '../../src/config/load.ts';
import { defineDriver, type GroupFault, type ListenSink } from '../../src/driver.ts';
import { SluiceError } from '../../src/errors.ts';
import { type IngestOptions, startIngest } from '../../src/ingest/index.ts';
import { TagRegistry } from '../../src/pipeline/registry.ts';
import { type Chunk, Quality } from '../../src/reading.ts';
import { ManualClock } from '../../src/runtime/clock.ts';

export interface GroupSpec {
  readonly unit: string;
  readonly everyMs: number;
  readonly tags: readonly string[];
  /** Names of those of low priority. */
  readonly low?: readonly string[];
}

export class FakeDevice {
  refuses = false;
  hangs = false;
  ignoresAbort = false;
  readMs = 0;
  deadUnits = new Set<string>();
  readonly clock: ManualClock;
  /** Each round: when, and the groups asked for. */
  readonly rounds: { atMs: number; groups: readonly number[] }[] = [];
  attempts = 0;
  opens = 0;
  closes = 0;
  sink: ListenSink | undefined;
  #hangUp: ((cause: Error) => void) | undefined;

  constructor(clock: ManualClock) {
    this.clock = clock;
  }

  hangUp(): void {
    this.#hangUp?.(new SluiceError('fake.reset', 'retry', 'the device hung up'));
  }

  source(
    name: string,
    groups: readonly GroupSpec[],
    mode: 'poll' | 'listen' = 'poll',
    readTimeout = 30_000,
  ): SourceConfig {
    const plan = () =>
      groups.map((group) => ({
        ...group,
        tags: group.tags.map((tag) => ({
          name: tag,
          type: 'float64' as const,
          fields: tagFieldsSchema.parse({ priority: group.low?.includes(tag) ? 'low' : 'normal' }),
          address: tag,
        })),
      }));
    const common = { name: 'fake', schema: z.strictObject({}), endpoint: () => name, plan };
    const driver =
      mode === 'poll'
        ? defineDriver({ ...common, mode, open: async (_, bound) => this.#session(bound) })
        : defineDriver({
            ...common,
            mode,
            open: async (_, __, ___, sink) => {
              this.sink = sink;
              const { closed, close } = this.#connect();
              return { mode, closed, close };
            },
          });
    return { name, driver: 'fake', readTimeout, prepared: driver.prepare({}) };
  }

  #session(groups: readonly { unit: string; tags: readonly { index: number }[] }[]) {
    const { closed, close } = this.#connect();
    return {
      mode: 'poll' as const,
      closed,
      close,
      read: async (
        due: readonly number[],
        out: Parameters<import('../../src/driver.ts').PollSession['read']>[1],
        signal: AbortSignal,
      ) => {
        this.rounds.push({ atMs: this.clock.monoMs(), groups: due });
        await new Promise<void>((resolve, reject) => {
          if (this.readMs > 0 && !this.hangs) this.clock.after(this.readMs, resolve);
          else if (!this.hangs) resolve();
          if (!this.ignoresAbort) signal.addEventListener('abort', () => reject(signal.reason), { once: true });
          closed.catch(reject);
        });
        const faults: GroupFault[] = [];
        for (const group of due) {
          const isDead = this.deadUnits.has(groups[group]?.unit ?? '');
          for (const { index } of groups[group]?.tags ?? []) {
            out.push(index, this.clock.wallMs(), 1, isDead ? Quality.commError : Quality.good);
          }
          if (isDead)
            faults.push({ group, unitDown: true, error: new SluiceError('fake.timeout', 'retry', 'no reply') });
        }
        return faults;
      },
    };
  }

  #connect() {
    this.attempts++;
    if (this.refuses) throw new SluiceError('fake.refused', 'retry', 'connection refused', { hint: 'plug it in' });
    this.opens++;
    let resolveClosed: () => void = () => {};
    const closed = new Promise<void>((resolve, reject) => {
      resolveClosed = resolve;
      this.#hangUp = reject;
    });
    closed.catch(() => {});
    const close = async () => {
      this.closes++;
      resolveClosed();
    };
    return { closed, close };
  }
}

/** What the pipeline was given, and the log. */
export class Surroundings {
  readonly clock = new ManualClock();
  readonly registry = new TagRegistry(10_000, () => {});
  readonly pushed: {
    source: string;
    atMs: number;
    tags: string[];
    qualities: number[];
    receipts: readonly Receipt[];
  }[] = [];
  readonly rejected: { source: string; subject: string; reason: string }[] = [];
  readonly logged: { level: string; facts: Record<string, unknown>; text: string }[] = [];
  readonly states: { source: string; state: string }[] = [];
  duplicates = 0;
  pressed = false;
  slowdown = 1;
  full = false;
  /** Nothing becomes durable any more. */
  stuck = false;
  durables = 0;
  committed: Receipt[] = [];
  readonly released: number[] = [];
  cleared = 0;

  options(): IngestOptions {
    const log = (level: string) => (facts: Record<string, unknown>, text: string) => {
      this.logged.push({ level, facts, text });
    };
    const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
    return {
      registry: this.registry,
      clock: this.clock,
      gateway: 'box',
      random: () => 0.5,
      logger: logger as unknown as IngestOptions['logger'],
      onState: ({ source, state }) => this.states.push({ source, state }),
      cache: { receipts: async () => this.committed },
      pipeline: {
        push: (source, chunk, receipts = []) => this.#push(source, chunk, receipts),
        reject: (source, subject, _, reason) => this.rejected.push({ source, subject, reason }),
        duplicate: () => this.duplicates++,
        releaseReceipts: (_, ids) => this.released.push(...ids),
        clearReceipts: () => this.cleared++,
        pressed: () => this.pressed,
        slowdown: () => this.slowdown,
        durable: async () => {
          this.durables++;
          if (this.stuck) await new Promise(() => {});
        },
      },
    };
  }

  run(...sources: SourceConfig[]) {
    return startIngest(sources, this.options());
  }

  /** Moves time in small steps, letting promises settle between them. */
  async pass(ms: number, stepMs = 100): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left));
      await settled();
    }
  }

  pushedBy(source: string) {
    return this.pushed.filter((each) => each.source === source);
  }

  #push(source: string, chunk: Chunk, receipts: readonly Receipt[]): boolean {
    if (this.full) return false;
    this.pushed.push({
      source,
      atMs: this.clock.monoMs(),
      tags: [...chunk.tag].map((index) => this.registry.get(index)?.definition.name ?? '?'),
      qualities: [...chunk.quality],
      receipts,
    });
    return true;
  }
}

export async function settled(): Promise<void> {
  await setImmediate();
}
