/**
 * In the place of the cache while its file system is read-only: people beside the machine see live values and an alarm,
 * and nothing is kept. It is always full (`uncommittedBytes` is beyond the cap), so that what comes is seen by the HMI and
 * the alarms, counted as received and rejected, and acknowledged to nobody; and it always accepts, so that polls go on.
 *
 * What must not be forgotten, the counts and the last change of each alarm, waits here for the cache that comes back.
 */
import type { CacheConfig } from '../config/cache.ts';
import { SluiceError } from '../errors.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import { summed } from './counts.ts';
import { isReadOnly, readOnly } from './folder.ts';
import type { AlarmRow, Append, CacheClient, CacheStats, CommitCounts } from './types.ts';
import { withResolvers } from './uncommitted.ts';

/** Looking costs one system call; what it finds ends the stand-in and starts the path again. */
const RETRY_MS = 5_000;
/** Sources that tell of themselves are bounded, alarms by the tags; a hostile plant shall not grow this. */
const ALARMS_MAX = 10_000;
const RUN_BYTES = 16;

const COUNTS = ['received', 'rejected', 'duplicate', 'thinned'] as const;

function nothingOf(source: string): CommitCounts {
  return { source, received: 0, rejected: 0, duplicate: 0, thinned: 0 };
}

export class StandIn implements CacheClient {
  readonly run = new Uint8Array(RUN_BYTES);
  readonly boot = new Uint8Array(RUN_BYTES);
  readonly damage = [];
  readonly account = undefined;
  readonly uncommittedBytesMax: number;
  /** Rejects with `cache.writable` when the file system takes writes again. */
  readonly failed: Promise<never>;
  readonly #config: CacheConfig;
  readonly #clock: Clock;
  readonly #counts = new Map<string, CommitCounts>();
  readonly #alarms = new Map<string, AlarmRow>();
  readonly #fail: (error: Error) => void;
  readonly #never = withResolvers<void>();
  #timer: Timer | undefined;

  /** @param carried of the one before, where the file system did not stay writable for long. */
  constructor(config: CacheConfig, clock: Clock, carried: Append = {}) {
    this.#config = config;
    this.#clock = clock;
    this.uncommittedBytesMax = config.uncommittedBytesMax;
    const { promise, reject } = withResolvers<never>();
    this.failed = promise;
    this.failed.catch(() => {});
    this.#never.promise.catch(() => {});
    this.#fail = reject;
    this.append(carried);
    this.#lookLater();
  }

  #lookLater(): void {
    this.#timer = this.#clock.after(RETRY_MS, () => {
      if (isReadOnly(this.#config.path)) return this.#lookLater();
      this.#fail(new SluiceError('cache.writable', 'retry', 'the file system of the cache takes writes again'));
    });
  }

  /** For the cache that comes back, in its first commit. */
  carried(): Append {
    return { counts: [...this.#counts.values()], alarms: [...this.#alarms.values()] };
  }

  registerTag(): void {}
  append({ counts, alarms }: Append): void {
    for (const each of counts ?? []) {
      const before = this.#counts.get(each.source) ?? nothingOf(each.source);
      const sum = { ...each, reasons: summed(before.reasons, each.reasons) };
      for (const name of COUNTS) Object.assign(sum, { [name]: before[name] + each[name] });
      this.#counts.set(each.source, sum);
    }
    for (const row of alarms ?? []) {
      this.#alarms.delete(row.id);
      this.#alarms.set(row.id, row);
      const [oldest] = this.#alarms.keys();
      if (this.#alarms.size > ALARMS_MAX && oldest !== undefined) this.#alarms.delete(oldest);
    }
  }
  /** Not while this stands in; rejects at its end, so that nobody waits for ever. */
  committed(): Promise<void> {
    return this.#never.promise;
  }
  uncommittedBytes(): number {
    return this.uncommittedBytesMax + 1;
  }
  accepting(): boolean {
    return true;
  }
  async receipts() {
    return [];
  }
  saveHot(): void {}
  async loadHot() {
    return undefined;
  }
  async lastWindows() {
    return { names: [], windows: [] };
  }
  async cut() {
    return undefined;
  }
  async acknowledge(): Promise<void> {}
  async release(): Promise<void> {}
  async refuse(): Promise<void> {}
  async helloRuns(target: string) {
    return { id: '', target, runs: [], next: undefined };
  }
  async hello() {
    return { marked: 0, reopened: 0, lost: 0 };
  }
  setRecipient(): void {}
  async forgetDictionary(): Promise<void> {}
  async alarms() {
    return [...this.#alarms.values()].filter(({ state }) => state !== 'cleared');
  }
  async backlog() {
    const perClass = { alarm: 0, control: 0, aggregate: 0, normal: 0, low: 0 };
    return { pendingRows: 0, pendingReadings: 0, pendingBytes: 0, oldestMs: undefined, perClass };
  }
  async stats(): Promise<CacheStats> {
    const sources = Object.fromEntries(
      [...this.#counts].map(([source, { received, rejected, duplicate, thinned }]) => [
        source,
        { received, rejected, duplicate, thinned, accepted: 0, committed: 0 },
      ]),
    );
    const reasons = [...this.#counts].flatMap(([source, { reasons: why }]) =>
      why === undefined ? [] : [[source, Object.fromEntries(why)] as const],
    );
    const rejections = Object.fromEntries(reasons);
    return {
      ladder: { level: 0, cause: 'disk', disk: 0, memory: 0, age: 0 },
      run: '',
      ledger: { sinceMs: this.#clock.wallMs(), sources, targets: {}, rejections, drops: {} },
      ...{ commits: 0, readingsCommitted: 0, commitSeconds: 0, lastCommitMs: undefined },
      ...{ bytesUsed: 0, bytesMax: this.#config.bytesMax, blocks: 0, windowBlocks: 0, tags: 0, deadLetters: 0 },
      ...{ walBytes: 0, walPinned: false, damagedBlocks: 0, damage: [], full: true, readOnly: true },
    };
  }
  onWindows(): void {}
  onDamage(): void {}
  onLadder(): void {}
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#never.reject(readOnly(this.#config.path));
  }
}
