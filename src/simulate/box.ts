/** One gateway: a machine, a disk, a plant, and the process that runs, dies and starts again on them. */

import type { CoreOptions } from '../cache/core.ts';
import { CacheCore } from '../cache/core.ts';
import { HotTable } from '../cache/hot.ts';
import { pipelineSchema } from '../config/pipeline.ts';
import type { UplinkConfig } from '../config/uplink.ts';
import { asError, describe } from '../errors.ts';
import { type Pipeline, startPipeline, TagRegistry } from '../pipeline/index.ts';
import { CLOUD_TARGET, startUplink, type Uplink, type UplinkLogger } from '../uplink/index.ts';
import { hex } from '../wire/bytes.ts';
import { type DeviceKey, toPublic } from '../wire/keys.ts';
import type { SimulatedCloud } from './cloud.ts';
import type { Disk } from './disk.ts';
import { Crash } from './faulty-store.ts';
import { LocalCache } from './local-cache.ts';
import type { Network } from './network.ts';
import type { Random } from './random.ts';
import type { Sources } from './sources.ts';
import { type Machine, ProcessClock, type World } from './world.ts';

export interface BoxSettings {
  readonly uplink: UplinkConfig;
  readonly commitIntervalMs: number;
  readonly uncommittedBytesMax: number;
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
  readonly onMarked: (box: Box) => void;
}

/** As `runGateway`: what is still to be sent gets so long. */
const DRAIN_MS = 4000;
const HOT_SAVE_MS = 60_000;
/** One alarm batch, one live, four of the backlog, and a hello. */
const IN_FLIGHT_MAX = 7;

interface Running {
  readonly clock: ProcessClock;
  readonly core: CacheCore;
  readonly cache: LocalCache;
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
    const store = this.disk.open(() => this.#died(name, clock));
    const late: { pipeline?: Pipeline; cache?: LocalCache } = {};
    const core = new CacheCore(store, {
      ...settings.core,
      clock: machine,
      boot: machine.boot,
      targets: [{ name: CLOUD_TARGET, required: true }],
      device,
      version: '0.0.0',
      reason: 'start',
      run: random.bytes(16),
      onLadder: (state) => late.cache?.stepped(state),
    });
    const onFailed = (error: Error) => {
      world.log(`${name} ends: ${describe(error)}`);
      this.#died(name, clock);
    };
    const onDefect = (error: Error) => {
      // What was killed throws at every turn.
      if (clock.alive && !(error instanceof Crash)) world.problem(`${name} has a defect: ${error.stack}`);
    };
    const onMarked = () => this.parts.onMarked(this);
    const { commitIntervalMs, uncommittedBytesMax } = settings;
    const told = { onDefect, onFailed, onMarked };
    const cache = new LocalCache({ core, clock, random, commitIntervalMs, uncommittedBytesMax, ...told });
    late.cache = cache;
    const hot = new HotTable(clock, { ttlMs: 1000 });
    const registry = new TagRegistry(1000, (tag) => {
      cache.registerTag(tag);
      hot.register(tag);
    });
    const uplink = startUplink(settings.uplink, cache, {
      clock,
      random: random.unit,
      logger: this.#logger(name),
      device,
      cloudKeys: toPublic(cloud.keys),
      onAlarm: (id, active, text) => late.pipeline?.gatewayAlarm(id, active, text),
      connect: network.connect(name, clock, this.#inFlight(name)),
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
    return { clock, core, cache, uplink, pipeline, hot };
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
    running.cache.forget(tag, hex(random.bytes(16)), () => {
      world.log(`${this.name} forgot ${tag}`);
      for (const place of this.disk.placesOf(tag))
        if (place.n <= (before.get(place.list) ?? 0))
          world.problem(`${this.name} forgot ${tag}, and still has row ${place.n} of ${place.list}`);
    });
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
    this.#gone(running.clock);
  }

  #died(name: string, clock: ProcessClock): void {
    if (!clock.alive) return;
    clock.alive = false;
    this.parts.world.log(`${name} died`);
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

  #inFlight(name: string): (by: number) => void {
    let count = 0;
    return (by) => {
      count += by;
      if (count > IN_FLIGHT_MAX) this.parts.world.problem(`${name} has ${count} requests under way`);
    };
  }

  #logger(name: string): UplinkLogger {
    const { world } = this.parts;
    const write = (level: string) => (facts: object, message: string) => {
      const error = 'error' in facts ? ` (${facts.error})` : '';
      world.log(`${name} ${level}: ${message}${error}`);
      if (message === 'uplink: unexpected') world.problem(`${name}: ${message}${error}`);
    };
    return { info: write('info'), warn: write('warn'), error: write('error') };
  }
}
