/** What befalls gateways and cloud: one fault after another, chosen by the seed; then all is well again until nothing is pending. */
import { CLOUD_TARGET } from '../uplink/index.ts';
import type { DeviceKey } from '../wire/keys.ts';
import { Box, type BoxSettings } from './box.ts';
import { ambush, settings } from './chance.ts';
import type { SimulatedCloud } from './cloud.ts';
import { Disk, type DiskRoom } from './disk.ts';
import type { History } from './history.ts';
import { DOUBLE_MS_MAX, Network, WEATHER, type Weather } from './network.ts';
import { checkLedger, checkMarks } from './oracle.ts';
import type { Random } from './random.ts';
import { Sources } from './sources.ts';
import { Machine, type World } from './world.ts';

/** 2026-07-01: any day on which a clock is plausible. */
export const EPOCH_MS = Date.UTC(2026, 6, 1);
const STEP_MS_MEAN = 3000;
const HOUR_MS = 3_600_000;
/** Holds, back-offs and parked rows included. */
const DRAIN_MS_MAX = 4 * HOUR_MS;
const BOXES_MAX = 2;
const BACKUPS_MAX = 3;

const ACTIONS = {
  wait: 6,
  'long wait': 0.3,
  kill: 4,
  ambush: 8,
  restart: 2,
  'full disk': 2,
  weather: 10,
  'cloud restart': 3,
  'cloud backup': 2,
  'cloud restore': 1,
  'cloud away': 2,
  'cloud limits': 2,
  'cloud busy': 1,
  poison: 2,
  'clock step': 2,
  reboot: 2,
  'clock set': 2,
  'disk backup': 1.5,
  'disk restore': 0.5,
  clone: 0.4,
  forget: 1.5,
} as const;
type Action = keyof typeof ACTIONS;

export interface StoryParts {
  readonly world: World;
  readonly cloud: SimulatedCloud;
  readonly device: DeviceKey;
  readonly history: History;
  readonly room: DiskRoom | undefined;
}

export class Story {
  readonly parts: StoryParts;
  readonly network: Network;
  readonly boxes: Box[] = [];
  /** Every reading that any plant ever handed to a gateway. */
  readonly said = new Set<string>();
  /** A history was rewound or doubled: what is gone with a replaced disk is not missed. */
  hasForked = false;
  readonly #random: Random;
  readonly #cloudBackups: Uint8Array[] = [];
  readonly #diskBackups: Disk[] = [];
  readonly #settings: BoxSettings;

  constructor(parts: StoryParts) {
    const { world, cloud, device, history, room } = parts;
    this.parts = parts;
    this.#random = world.random.fork();
    this.network = new Network(world, cloud, device);
    this.#settings = settings(this.#random);
    this.#addBox(new Disk(world, history, room));
    cloud.start();
  }

  #addBox(disk: Disk): Box {
    const { world, cloud, device } = this.parts;
    const name = `box${this.boxes.length + 1}`;
    const machine = new Machine(world, EPOCH_MS);
    const sources = new Sources(world, this.said);
    const { network } = this;
    const onMarked = (marked: Box) => checkMarks(world, marked);
    const box = new Box(
      name,
      { world, machine, sources, network, cloud, device, settings: this.#settings, onMarked },
      disk,
    );
    this.boxes.push(box);
    return box;
  }

  /** @param from quiet until this step, to find the one that matters. */
  async tell(steps: number, from: number): Promise<void> {
    const { world } = this.parts;
    this.boxes[0]?.start();
    for (let step = 0; step < steps && world.problems.length === 0; step++) {
      await world.sleep(this.#random.exponential(STEP_MS_MEAN));
      const action = this.#random.weighted<Action>(ACTIONS);
      const box = this.#random.pick(this.boxes);
      // The same numbers are drawn, whether it happens or not.
      const chance = this.#random.fork();
      if (step < from) continue;
      world.log(`step ${step}: ${action} ${box.name}`);
      await this.#act(action, box, chance);
    }
  }

  async #act(action: Action, box: Box, random: Random): Promise<void> {
    const { world, cloud } = this.parts;
    const { machine, sources } = box.parts;
    switch (action) {
      case 'wait':
        return;
      case 'long wait':
        // Time passes, and little else.
        sources.isFlowing = false;
        await world.sleep(random.between(60_000, 1_200_000));
        sources.isFlowing = true;
        return;
      case 'kill':
        box.crash();
        this.#check(box);
        return box.startLater(3000);
      case 'ambush':
        box.disk.ambush = ambush(random);
        return;
      case 'restart':
        box.stop().then(() => box.startLater(1000));
        return;
      case 'full disk':
        box.disk.full = true;
        world.after(random.exponential(15_000), () => {
          box.disk.full = false;
        });
        return;
      case 'weather': {
        const weather = random.pick(Object.keys(WEATHER) as Weather[]); // its own keys
        world.log(`the network is ${weather}`);
        this.network.weather = weather;
        world.after(random.exponential(weather === 'dark' ? 60_000 : 20_000), () => {
          if (this.network.weather === weather) this.network.weather = 'fine';
        });
        return;
      }
      case 'cloud restart':
        if (cloud.isUp) cloud.stop();
        return cloud.start();
      case 'cloud backup': {
        const backup = cloud.backup();
        if (backup !== undefined) this.#cloudBackups.push(backup);
        if (this.#cloudBackups.length > BACKUPS_MAX) this.#cloudBackups.shift();
        return;
      }
      case 'cloud restore':
        if (this.#cloudBackups.length === 0) return;
        if (cloud.isUp) cloud.stop();
        cloud.restore(random.pick(this.#cloudBackups));
        return cloud.start();
      case 'cloud away':
        if (cloud.isUp) cloud.stop();
        world.after(random.exponential(30_000), () => cloud.start());
        return;
      case 'cloud limits':
        cloud.sizeMax = random.chance(0.4) ? 1_000_000 : Math.floor(random.between(400, 5000));
        if (cloud.isUp) cloud.stop();
        return cloud.start();
      case 'cloud busy':
        cloud.busyShare = random.unit();
        world.after(random.exponential(10_000), () => {
          cloud.busyShare = 0;
        });
        return;
      case 'poison':
        cloud.refusesPoison = true;
        sources.poisons = true;
        world.after(random.exponential(20_000), () => {
          sources.poisons = false;
        });
        return;
      case 'clock step':
        machine.step(random.pick([-3_600_000, 3_600_000, 400_000, -1000, 31_536_000_000, -EPOCH_MS]));
        return;
      case 'reboot':
        box.crash();
        machine.reboot(random.chance(0.5));
        return box.startLater(5000);
      case 'clock set':
        return machine.correct();
      case 'disk backup':
        this.#diskBackups.push(box.disk.copy());
        if (this.#diskBackups.length > BACKUPS_MAX) this.#diskBackups.shift();
        return;
      case 'disk restore':
        if (this.#diskBackups.length === 0) return;
        box.crash();
        this.hasForked = true;
        box.disk = random.pick(this.#diskBackups).copy();
        return box.startLater(3000);
      case 'clone':
        if (this.boxes.length >= BOXES_MAX) return;
        this.hasForked = true;
        this.#addBox(box.disk.copy()).startLater(1000);
        return;
      case 'forget':
        return box.forget(random);
    }
  }

  /** What a person would find who looks at a stopped gateway. */
  #check(box: Box): void {
    checkLedger(this.parts.world, box);
  }

  /** Everything works again; when this is over, nothing waits for anything. */
  async end(): Promise<void> {
    const { world, cloud } = this.parts;
    world.log('all is well again');
    this.network.weather = 'fine';
    cloud.refusesPoison = false;
    cloud.busyShare = 0;
    cloud.sizeMax = 1_000_000;
    if (cloud.isUp) cloud.stop();
    cloud.start();
    for (const { disk, parts } of this.boxes) {
      disk.full = false;
      disk.ambush = undefined;
      parts.machine.correct();
      parts.sources.poisons = false;
    }
    await world.sleep(20_000);
    for (const { parts } of this.boxes) parts.sources.isFlowing = false;
    await this.#restartAll();
    await this.#drained();
    if (this.#random.chance(0.25)) {
      // The next answer an hour after the first brings a word on what is settled.
      await this.#flow(10_000);
      await world.sleep(HOUR_MS * 1.01);
      await this.#flow(10_000);
      await this.#drained();
    }
    // Nothing of the bad times is under way any more.
    await world.sleep(DOUBLE_MS_MAX * 2);
    // What the other gateway delivered meanwhile, each hears from the next hello.
    await this.#restartAll();
    await world.sleep(5000);
    await this.#drained();
  }

  async #flow(forMs: number): Promise<void> {
    for (const { parts } of this.boxes) parts.sources.isFlowing = true;
    await this.parts.world.sleep(forMs);
    for (const { parts } of this.boxes) parts.sources.isFlowing = false;
  }

  async #restartAll(): Promise<void> {
    const { world } = this.parts;
    for (const box of this.boxes) {
      let isStopped = false;
      box.stop().then(() => {
        isStopped = true;
      });
      await world.run(world.nowMs + 60_000, () => isStopped);
      if (!isStopped) world.problem(`${box.name} did not stop within a minute`);
      this.#check(box);
      box.start();
    }
  }

  async #drained(): Promise<void> {
    const { world } = this.parts;
    const isDrained = () =>
      this.boxes.every(({ core, uplink }) => core?.backlog(CLOUD_TARGET).pendingRows === 0 && uplink !== undefined);
    const untilMs = world.nowMs + DRAIN_MS_MAX;
    for (let isDone = false; !isDone && world.nowMs < untilMs && world.problems.length === 0; ) {
      await world.sleep(1000);
      isDone = isDrained();
    }
    if (isDrained()) return;
    for (const { name, core, uplink } of this.boxes)
      world.problem(
        `${name} is not drained: ${JSON.stringify(core?.backlog(CLOUD_TARGET))} ${JSON.stringify(uplink?.state())}`,
      );
  }
}
