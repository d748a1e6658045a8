/**
 * The uplink: pulls sealed batches from the cache and delivers them to the cloud, once. It persists nothing and decides
 * nothing about rows without a signed answer: what it forgets in a crash, the cloud's numbers tell again.
 */
import type { HelloOutcome } from '../cache/types.ts';
import type { UplinkConfig } from '../config/uplink.ts';
import { describe } from '../errors.ts';
import { type Clock, sleep, type Timer } from '../runtime/clock.ts';
import type { Lane as LaneName } from '../wire/classes.ts';
import type { HelloAnswer } from '../wire/hello.ts';
import type { CloudPublic, DeviceKey } from '../wire/keys.ts';
import { type OnAlarm, UplinkAlarms } from './alarms.ts';
import { HELLO_TRIAL } from './breaker.ts';
import { CloudKeys, type KeyListPlace } from './cloud-keys.ts';
import { type Connect, connectHttp, type Link } from './connection.ts';
import { HelloClient } from './hello.ts';
import type { Lane } from './lane.ts';
import { Lanes } from './lanes.ts';
import { connectionOptions, Sender } from './send.ts';
import { Signer } from './signer.ts';
import type { HoldState, LaneState, UplinkCache, UplinkLogger, UplinkState } from './types.ts';

export type { OnAlarm } from './alarms.ts';
export { enrolAt } from './enrol.ts';
export { bringNewKey } from './key-change.ts';
export { readUplinkKeys, uplinkKeyFaults } from './keyfiles.ts';
export { tlsFileFaults } from './tls.ts';
export type { LaneState, UplinkCache, UplinkLogger, UplinkState } from './types.ts';

/** The sealed link's name in marks and ledger. */
export const CLOUD_TARGET = 'cloud';
/** Longer than an ordinary answer takes, well within what systemd grants a stop. */
const STOP_GRACE_MS = 5000;
/** Between two looks at what is left while draining. */
const DRAIN_LOOK_MS = 50;
/** How old the pending count in the status may be. */
const BACKLOG_EVERY_MS = 2000;

export interface UplinkOptions {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly logger: UplinkLogger;
  readonly device: DeviceKey;
  /** Undefined with a `keyList` that was never fetched. */
  readonly cloudKeys: CloudPublic | undefined;
  /** Whose lists of keys count beyond these, and where the newest is kept. */
  readonly keyList?: KeyListPlace | undefined;
  /** The device key in its file, where that changed since the last call. */
  readonly deviceChanged?: (() => DeviceKey | undefined) | undefined;
  readonly onAlarm?: OnAlarm;
  /** HTTP by default; the simulation brings a network of its own. */
  readonly connect?: Connect;
}

export interface Uplink {
  /** Cheap: for status tables and metrics. */
  state(): UplinkState;
  /** Whether the disk fills with what is to be sent: larger batches of the backlog, compressed more strongly. */
  press(isPressed: boolean): void;
  /** An alarm was committed: it is sent now rather than within half a second. */
  nudge(): void;
  /**
   * Sends what is pending without waiting for the next interval. Resolves when all is delivered (but for parked rows), the
   * cloud does not take it, or at `untilMonoMs` of the clock.
   */
  drain(untilMonoMs: number): Promise<void>;
  /** Waits at most 5 s for answers on their way; gives everything unanswered back to the cache. */
  stop(): Promise<void>;
}

/**
 * Starts delivering. Nothing here throws later: what goes wrong is in the state, the alarms and the log.
 * @throws SluiceError `uplink.tls_file` when a configured certificate cannot be read.
 */
export function startUplink(config: UplinkConfig, cache: UplinkCache, options: UplinkOptions): Uplink {
  const running = new RunningUplink(config, cache, options);
  running.start();
  return running;
}

class RunningUplink implements Uplink {
  readonly #config: UplinkConfig;
  readonly #cache: UplinkCache;
  readonly #options: UplinkOptions;
  readonly #alarms: UplinkAlarms;
  readonly #sender: Sender;
  readonly #helloConnection: Link;
  readonly #hello: HelloClient;
  readonly #lanes: Lanes;
  readonly #keys: CloudKeys;
  readonly #signer: Signer;
  readonly #aborted = new AbortController();
  #pendingRows: number | undefined;
  #backlogTimer: Timer | undefined;
  #stopping: Promise<void> | undefined;

  constructor(config: UplinkConfig, cache: UplinkCache, options: UplinkOptions) {
    const { clock, random, logger, connect = connectHttp } = options;
    this.#config = config;
    this.#cache = cache;
    this.#options = options;
    this.#alarms = new UplinkAlarms(options.onAlarm ?? (() => {}));
    const { base, ...shared } = connectionOptions(config, clock);
    this.#helloConnection = connect({ ...shared, connections: 1 });
    const keys = new CloudKeys({
      ...{ keys: options.cloudKeys, place: options.keyList, clock, logger },
      link: this.#helloConnection,
      path: `${base}/v1/keys`,
      onChange: (cloud) => cache.setRecipient(CLOUD_TARGET, cloud, this.#signer.key),
    });
    this.#keys = keys;
    const signer = new Signer({
      ...{ key: options.device, changed: options.deviceChanged, clock, logger },
      onChange: (key) => this.#onDeviceKey(key),
    });
    this.#signer = signer;
    this.#sender = new Sender(config, clock, signer, keys, connect);
    this.#hello = new HelloClient({
      connection: this.#helloConnection,
      path: `${base}/v1/hello`,
      target: CLOUD_TARGET,
      cache,
      signer,
      keys,
      clock,
      random,
      logger,
      mayAsk: () => this.#lanes.breaker.state === 'closed' && this.#lanes.breaker.admitsNew,
      onAnswer: (answer, outcome) => this.#onHello(answer, outcome),
      onDenied: (news) => {
        this.#lanes.breaker.tell(HELLO_TRIAL, news);
        this.#alarms.update(this.#lanes.breaker, this.#lanes.lanes);
      },
    });
    this.#lanes = new Lanes({
      config,
      target: CLOUD_TARGET,
      cache,
      clock,
      random,
      logger,
      send: this.#sender.send,
      hello: (signal) => this.#hello.ask(signal),
      onChange: () => this.#alarms.update(this.#lanes.breaker, this.#lanes.lanes),
      onIncarnation: (incarnation) => this.#hello.seen(incarnation, this.#aborted.signal),
      onWrittenOff: (rows, reason) => this.#onWrittenOff(rows, reason),
    });
  }

  start(): void {
    const { cloudKeys, device } = this.#options;
    if (cloudKeys !== undefined) this.#cache.setRecipient(CLOUD_TARGET, cloudKeys, device);
    this.#signer.start();
    void this.#lookAtBacklog();
    // What the cloud holds already need not be sent; when it does not answer, batches find out by themselves.
    void this.#hello.askAndTell(this.#aborted.signal).then(() => {
      if (this.#stopping === undefined) this.#lanes.start();
    });
  }

  press(isPressed: boolean): void {
    this.#lanes.press(isPressed);
  }

  nudge(): void {
    this.#lanes.nudge();
  }

  async drain(untilMonoMs: number): Promise<void> {
    const { clock } = this.#options;
    const { breaker, lanes } = this.#lanes;
    while (this.#stopping === undefined && clock.monoMs() < untilMonoMs && breaker.state === 'closed') {
      const { pendingRows } = await this.#cache.backlog(CLOUD_TARGET);
      if (pendingRows <= lanes.reduce((sum, lane) => sum + lane.parked, 0)) return;
      this.#lanes.cutNow();
      await sleep(clock, DRAIN_LOOK_MS);
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#backlogTimer?.cancel();
    this.#hello.stop();
    this.#signer.stop();
    await this.#lanes.stop(STOP_GRACE_MS);
    this.#aborted.abort(new Error('the uplink is stopping'));
    await Promise.all([this.#sender.close(), this.#helloConnection.close()]);
  }

  state(): UplinkState {
    const { breaker, counters, lanes } = this.#lanes;
    const state = (name: LaneName) => this.#laneState(lanes.find((lane) => lane.name === name));
    return {
      ...counters,
      lanes: { alarm: state('alarm'), live: state('live'), backlog: state('backlog') },
      breaker: breaker.state,
      lastError: breaker.lastError,
      holds: this.#holds(),
      ignored: { ...this.#sender.ignored },
      pendingRows: this.#pendingRows,
      cloudTime: this.#hello.cloudTime,
      lastHelloMs: this.#hello.lastHelloMs,
    };
  }

  #laneState(lane: Lane | undefined): LaneState {
    const { clock } = this.#options;
    const nowMs = clock.monoMs();
    const dueMs = (lane?.waiting ?? []).map((trial) => Math.max(trial.dueMs, this.#lanes.breaker.nextMs ?? 0));
    const nextMs = Math.min(...dueMs);
    return {
      inFlight: lane?.inFlight ?? 0,
      waiting: lane?.waiting.length ?? 0,
      parked: lane?.parked ?? 0,
      waitingUntil: Number.isFinite(nextMs) ? clock.wallMs() + Math.max(0, nextMs - nowMs) : undefined,
      lastAckMs: lane?.lastAckMs,
      lastError: lane?.lastError,
      batchRows: lane?.size.rows ?? this.#config.rowsMax,
    };
  }

  #holds(): HoldState[] {
    const { breaker, lanes } = this.#lanes;
    const parked = lanes.flatMap((lane) => lane.waiting.filter((trial) => trial.parked !== undefined));
    const holds: HoldState[] = breaker.hold === undefined ? [] : [breaker.hold];
    for (const { parked: reason = '', parkedMs, batch } of parked) {
      const text = `${batch.rows} row of the ${batch.lane} lane cannot be delivered (${reason})`;
      const hint = 'it is kept and tried hourly; look at what the receiver, or a proxy on the way, says about it';
      holds.push({ reason, text, hint, sinceMs: parkedMs ?? 0 });
    }
    return holds;
  }

  #onDeviceKey(key: DeviceKey): void {
    const { current } = this.#keys;
    if (current !== undefined) this.#cache.setRecipient(CLOUD_TARGET, current, key);
    // The cloud takes the old key until it sees the new one: it shall see it now.
    if (this.#lanes.breaker.state === 'closed') void this.#hello.askAndTell(this.#aborted.signal);
  }

  #onHello(answer: HelloAnswer, { marked, reopened, lost }: HelloOutcome): void {
    this.#lanes.limit(answer.sizeMax, answer.codecs);
    if (answer.keyListVersion > this.#keys.version) {
      void this.#keys.newerThan(this.#keys.version, this.#aborted.signal);
    }
    const rewound = reopened + lost > 0;
    const text = `the cloud no longer holds ${reopened + lost} rows it had acknowledged: ${reopened} are sent again, ${lost} are lost there`;
    this.#alarms.set('cloud-rewound', rewound ? text : undefined);
    // Written-off rows are in the ledger for good; the alarm about them has been seen for an hour.
    this.#alarms.set('written-off', undefined);
    const level = rewound ? 'warn' : 'info';
    this.#options.logger[level](
      { marked, reopened, lost, keyListVersion: answer.keyListVersion },
      'uplink: the cloud said what it holds',
    );
    this.#lanes.pump();
  }

  #onWrittenOff(rows: number, reason: string): void {
    const total = this.#lanes.counters.refusedRows;
    this.#alarms.set('written-off', `the cloud refuses ${total} rows for good (${reason}): kept as dead letters`);
    this.#options.logger.warn({ rows, reason }, 'uplink: rows written off');
  }

  async #lookAtBacklog(): Promise<void> {
    try {
      this.#pendingRows = (await this.#cache.backlog(CLOUD_TARGET)).pendingRows;
    } catch (error) {
      if (this.#stopping === undefined)
        this.#options.logger.warn({ error: describe(error) }, 'uplink: no news of the backlog');
    }
    if (this.#stopping !== undefined) return;
    this.#backlogTimer = this.#options.clock.after(BACKLOG_EVERY_MS, () => void this.#lookAtBacklog());
  }
}
