/** One gateway: a machine, a disk, a plant, and the process that runs, dies and starts again on them. */

import type { Client } from '../cache/client.ts';
import type { CoreOptions } from '../cache/core.ts';
import { CacheCore } from '../cache/core.ts';
import type { ForgetRequest } from '../cache/forget/audit.ts';
import { HotTable } from '../cache/hot.ts';
import { savedLadder } from '../cache/ladder/saved.ts';
import type { LadderState } from '../cache/types.ts';
import { pipelineSchema } from '../config/pipeline.ts';
import type { UplinkConfig } from '../config/uplink.ts';
import { asError, describe } from '../errors.ts';
import { type Pipeline, startPipeline, TagRegistry } from '../pipeline/index.ts';
import { CLOUD_TARGET, startUplink, type Uplink } from '../uplink/index.ts';
import { hex } from '../wire/bytes.ts';
import { type DeviceKey, toPublic } from '../wire/keys.ts';
import type { SimulatedCloud } from './cloud.ts';
import type { Disk, OnCommitted } from './disk.ts';
import { Crash } from './faulty-store.ts';
import type { History } from './history.ts';
import { LadderWatch } from './ladder.ts';
import { localCache } from './local-cache.ts';
import type { Network } from './network.ts';
import type { Random } from './random.ts';
import type { Sources } from './sources.ts';
import { countInFlight, uplinkLogger } from './uplink-watch.ts';
import { type Machine, ProcessClock, type World } from './world.ts';

export interface BoxSettings {
  readonly uplink: UplinkConfig;
  readonly commitIntervalMs: number;
  readonly uncommittedBytesMax: number;
  readonly writeBudget: number;
  readonly core: Omit<CoreOptions, 'clock' | 'boot' | 'device' | 'run' | 'targets' | 'version' | 'reason'>;
}

export interface BoxParts {
  readonly world: World;
  readonly machine: Machine;
  readonly sources: Sources;
  readonly network: Network;
  readonly cloud: SimulatedCloud;
  readonly device: DeviceKey;
  readonly settings: BoxSettings;
  readonly history: History;
  /** Marks of these blocks changed. */
  readonly onMarked: (box: Box, ids: readonly number[]) => void;
}

/** As `runGateway`: what is still to be sent gets so long. */
const DRAIN_MS = 4000;
const HOT_SAVE_MS = 60_000;

interface Running {
  readonly clock: ProcessClock;
  readonly core: CacheCore;
  readonly cache: Client;
  readonly watch: LadderWatch;
  readonly uplink: Uplink;
  readonly pipeline: Pipeline;
  readonly hot: HotTable;
}

export class Box {
  readonly name: string;
  readonly parts: BoxParts;
  disk: Disk;
  #running: Running | undefined;
  #starts = 0;
  /** Asked of `sluice forget` and not taken yet, by file. */
  readonly #forgets = new Map<string, ForgetRequest>();
  /** What is to be gone once a request is done, by its id. */
  readonly #toForget = new Map<string, { readonly tag: string; readonly before: ReadonlyMap<string, number> }>();
  /** It starts again by itself, unless told otherwise. */
  #startsAgain = true;

  constructor(name: string, parts: BoxParts, disk: Disk) {
    this.name = name;
    this.parts = parts;
    this.disk = disk;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }
  get core(): CacheCore | undefined {
    return this.#running?.core;
  }
  get uplink(): Uplink | undefined {
    return this.#running?.uplink;
  }

  /** As systemd would. */
  startLater(meanMs: number): void {
    this.#startsAgain = true;
    this.parts.world.after(this.parts.world.random.exponential(meanMs), () => {
      if (this.#startsAgain && this.#running === undefined) this.start();
    });
  }

  /** For good, or until `start`. */
  switchOff(): void {
    this.crash();
    this.#startsAgain = false;
  }

  start(): void {
    const { world, machine } = this.parts;
    if (this.#running !== undefined) return;
    const clock = new ProcessClock(world, machine);
    const name = `${this.name}.${++this.#starts}`;
    world.log(`${name} starts`);
    try {
      this.#running = this.#run(name, clock);
    } catch (thrown) {
      // Killed, or refused by its disk, before it got anywhere.
      world.log(`${name} did not start: ${describe(thrown)}`);
      if (!(thrown instanceof Crash) && !['cache.full', 'cache.disk'].includes((thrown as { code: string }).code))
        world.problem(`${name} could not start: ${asError(thrown).stack}`);
      this.#gone(clock);
      this.startLater(3000);
    }
  }

  #run(name: string, clock: ProcessClock): Running {
    const { world, machine, network, cloud, device, settings, sources } = this.parts;
    const { random } = world;
    const late: { pipeline?: Pipeline; core?: CacheCore; post?: (state: LadderState) => void } = {};
    const run = random.bytes(16);
    const now = () => ({ wallMs: machine.wallMs(), monoMs: machine.monoMs(), synced: machine.synced() });
    const { ageMax } = settings.core;
    const isFull = () => this.disk.full || this.disk.othersBytes > 0;
    const watched = { world, name, history: this.parts.history, ageMax, now, isFull };
    const watch = new LadderWatch(watched, run, () => late.core);
    const store = this.disk.open(
      () => this.#died(name, clock),
      (...args) => this.#committed(watch, ...args),
    );
    watch.begin(savedLadder(store)?.level ?? 0);
    const core = new CacheCore(store, {
      ...settings.core,
      disk: this.disk.room,
      ballast: this.disk.ballast(),
      uncommittedBytesMax: settings.uncommittedBytesMax,
      clock: machine,
      boot: machine.boot,
      targets: [{ name: CLOUD_TARGET, required: true }],
      device,
      version: '0.0.0',
      reason: 'start',
      run,
      onLadder: (state) => {
        watch.stepped(state);
        late.post?.(state);
      },
    });
    late.core = core;
    const onFailed = (error: Error) => {
      world.log(`${name} ends: ${describe(error)}`);
      this.#died(name, clock);
    };
    const onDefect = (error: Error) => {
      // What was killed throws at every turn.
      if (clock.alive && !(error instanceof Crash)) world.problem(`${name} has a defect: ${error.stack}`);
    };
    const onForgotten = (id: string) => this.#forgot(id);
    const told = { forgets: this.#forgets, onForgotten, onDefect };
    const { commitIntervalMs, uncommittedBytesMax, writeBudget } = settings;
    const limits = { commitIntervalMs, uncommittedBytesMax, writeBudget };
    const { client: cache, post } = localCache({ core, clock, random, ...limits, ...told });
    late.post = (state) => post({ type: 'ladder', state });
    cache.failed.catch(onFailed);
    const hot = new HotTable(clock, { ttlMs: 1000 });
    const registry = new TagRegistry(1000, (tag) => {
      cache.registerTag(tag);
      hot.register(tag);
    });
    const uplink = startUplink(settings.uplink, cache, {
      clock,
      random: random.unit,
      logger: uplinkLogger(world, name),
      device,
      cloudKeys: toPublic(cloud.keys),
      onAlarm: (id, active, text) => late.pipeline?.gatewayAlarm(id, active, text),
      connect: network.connect(name, clock, countInFlight(world, name)),
    });
    const hmi = {
      changed: () => {},
      alarm: () => {
        // As in `gateway.ts`: an alarm goes out as soon as it is on disk.
        late.pipeline?.durable().then(
          () => uplink.nudge(),
          () => {},
        );
      },
    };
    const config = pipelineSchema.parse({});
    const names = ['plc', 'meter', 'broker'];
    const pipeline = startPipeline(config, { registry, hot, cache, clock, hmi, alarms: core.alarms(), sources: names });
    late.pipeline = pipeline;
    cache.onLadder(({ level }) => {
      pipeline.ladder(level);
      uplink.press(level >= 1);
    });
    const save = () => {
      cache.saveHot(hot.save());
      clock.after(HOT_SAVE_MS, save);
    };
    clock.after(HOT_SAVE_MS, save);
    sources.start({ clock, registry, pipeline, cache, disk: this.disk }).catch(() => {});
    return { clock, core, cache, watch, uplink, pipeline, hot };
  }

  /** A person asks for one of its tags to be forgotten; afterwards nothing of before is left of it. */
  forget(random: Random): void {
    const { world } = this.parts;
    const running = this.#running;
    const known = new Set(this.disk.tagNames());
    if (running === undefined || known.size === 0) return;
    const tag = random.pick([...known]);
    const before = new Map([...this.disk.rows].map(([list, rows]) => [list, rows.at(-1)?.to ?? 0]));
    world.log(`${this.name} shall forget ${tag}`);
    const id = hex(random.bytes(16));
    this.#toForget.set(id, { tag, before });
    this.#forgets.set(id, { id, tag, reason: null, by: 'simulation', atMs: 0 });
  }

  #forgot(id: string): void {
    const { world } = this.parts;
    const asked = this.#toForget.get(id);
    // A clone does what was asked of the disk that it was copied from.
    if (asked === undefined) return;
    const { tag, before } = asked;
    world.log(`${this.name} forgot ${tag}`);
    world.count('tags forgotten');
    for (const place of this.disk.placesOf(tag))
      if (place.n <= (before.get(place.list) ?? 0))
        world.problem(`${this.name} forgot ${tag}, and still has row ${place.n} of ${place.list}`);
  }

  /** The degradation ladder is where it should be, at this moment. */
  checkLadder(): void {
    this.#running?.watch.check();
  }

  #committed(watch: LadderWatch, ...[store, committed, fresh]: Parameters<OnCommitted>): void {
    watch.committed(store, committed.removed, fresh);
    watch.checkIdle(store);
    const pieces = committed.removed.length === 0 ? [] : committed.blocks.map(({ row }) => row.id);
    if (committed.marked.length + pieces.length > 0) this.parts.onMarked(this, [...committed.marked, ...pieces]);
  }

  /** In order, as far as the disk and the cloud allow. */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    const { clock, cache, uplink, pipeline, hot } = running;
    try {
      await pipeline.stop();
      await cache.committed();
      await uplink.drain(clock.monoMs() + DRAIN_MS);
      await uplink.stop();
      cache.saveHot(hot.save());
      await cache.close();
      this.parts.world.log(`${this.name} stopped`);
    } catch (thrown) {
      this.parts.world.log(`${this.name} did not stop in order: ${describe(thrown)}`);
    }
    if (this.#running === running) this.#gone(clock);
  }

  /** SIGKILL, or the power. */
  crash(): void {
    const running = this.#running;
    if (running === undefined) return;
    this.parts.world.log(`${this.name} crashes`);
    this.parts.world.count('crashes');
    this.#gone(running.clock);
  }

  #died(name: string, clock: ProcessClock): void {
    if (!clock.alive) return;
    clock.alive = false;
    this.parts.world.log(`${name} died`);
    this.parts.world.count('deaths by the disk or in a transaction');
    // Not within the transaction in which it died.
    this.parts.world.after(0, () => {
      this.#gone(clock);
      this.startLater(3000);
    });
  }

  #gone(clock: ProcessClock): void {
    clock.alive = false;
    this.disk.closed();
    this.#running = undefined;
  }
}
