/** What befalls gateways and cloud: one fault after another, chosen by the seed; then all is well again until nothing is pending. */
import type { DeviceKey } from '../wire/keys.ts';
import { Box, type BoxSettings } from './box.ts';
import { ambush, settings, type Theme, theme } from './chance.ts';
import type { SimulatedCloud } from './cloud.ts';
import { Disk, type DiskRoom } from './disk.ts';
import type { History } from './history.ts';
import { Network, WEATHER, type Weather } from './network.ts';
import { checkLedger, checkMarks } from './oracle.ts';
import type { Random } from './random.ts';
import { Sources } from './sources.ts';
import { Machine, type World } from './world.ts';

/** 2026-07-01: any day on which a clock is plausible. */
export const EPOCH_MS = Date.UTC(2026, 6, 1);
const STEP_MS_MEAN = 3000;
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
  outage: 0.3,
  'others fill the disk': 0.7,
  'slow disk': 0.7,
  flood: 0.5,
} as const;
type Action = keyof typeof ACTIONS;
/** More of what presses on a cache. */
const PRESSED: Readonly<Record<Theme, Partial<Record<Action, number>>>> = {
  plain: {},
  disk: { outage: 4 },
  'free disk': { outage: 3, 'others fill the disk': 5 },
  age: { outage: 3 },
  memory: { outage: 2, 'slow disk': 4, flood: 5 },
};
/** What a poll brings in an outage, as a multiple. */
const FLOODS = [1, 4, 8] as const;
/** Left by others who fill the disk. */
const LEFT_BYTES = [0, 20_000, 50_000, 700_000] as const;

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
  readonly #theme: Theme;

  constructor(parts: StoryParts) {
    const { world, cloud, device, history, room } = parts;
    this.parts = parts;
    this.#random = world.random.fork();
    this.network = new Network(world, cloud, device);
    this.#theme = theme(this.#random);
    this.#settings = settings(this.#random, this.#theme);
    this.#addBox(new Disk(world, history, room));
    cloud.start();
  }

  #addBox(disk: Disk): Box {
    const { world, cloud, device } = this.parts;
    const name = `box${this.boxes.length + 1}`;
    const machine = new Machine(world, EPOCH_MS);
    const sources = new Sources(world, this.said);
    const { network } = this;
    const onMarked = (marked: Box, ids: readonly number[]) => checkMarks(world, marked, ids);
    const box = new Box(
      name,
      {
        world,
        machine,
        sources,
        network,
        cloud,
        device,
        settings: this.#settings,
        history: this.parts.history,
        onMarked,
      },
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
      const weights = { ...ACTIONS, ...PRESSED[this.#theme] };
      const action = this.#random.weighted<Action>(weights);
      const box = this.#random.pick(this.boxes);
      // The same numbers are drawn, whether it happens or not.
      const chance = this.#random.fork();
      if (step < from) continue;
      world.log(`step ${step}: ${action} ${box.name}`);
      world.count(action);
      for (const each of this.boxes) each.checkLadder();
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
      case 'outage': {
        // Long enough to fill a small cache, and the plant has more to say than ever.
        const forMs = random.between(50_000, 150_000);
        this.network.outageEndsMs = Math.max(this.network.outageEndsMs, world.nowMs + forMs);
        sources.flood = random.pick(FLOODS);
        world.after(forMs, () => {
          sources.flood = 1;
        });
        return world.sleep(forMs * random.between(0.3, 0.9));
      }
      case 'others fill the disk':
        box.disk.fill(random.pick(LEFT_BYTES));
        world.after(random.exponential(90_000), () => {
          box.disk.othersBytes = 0;
        });
        return;
      case 'flood':
        sources.flood = 10;
        world.after(random.between(5000, 30_000), () => {
          sources.flood = 1;
        });
        return;
      case 'slow disk':
        // Readings pile up in memory.
        box.disk.full = true;
        sources.flood = 10;
        world.after(random.between(5000, 20_000), () => {
          box.disk.full = false;
          sources.flood = 1;
        });
        return;
    }
  }

  /** What a person would find who looks at a stopped gateway. */
  #check(box: Box): void {
    checkLedger(this.parts.world, box);
  }
}
