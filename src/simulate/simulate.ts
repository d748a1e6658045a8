/** One seed, one story, one verdict. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asError } from '../errors.ts';
import { hex } from '../wire/bytes.ts';
import { generateCloudKey, generateDeviceKey } from '../wire/keys.ts';
import { SimulatedCloud } from './cloud.ts';
import { Ending } from './ending.ts';
import { History } from './history.ts';
import { judge } from './oracle.ts';
import { Random } from './random.ts';
import { EPOCH_MS, Story } from './story.ts';
import { Machine, ProcessClock, World } from './world.ts';

export interface SimulationOptions {
  /** Faults, one after another. */
  readonly steps?: number;
  /** No faults before this step: to find the first that matters. */
  readonly from?: number;
  /** Prints every event. */
  readonly verbose?: boolean;
}

export interface Verdict {
  readonly seed: number;
  /** Empty when all is as it must be. */
  readonly problems: readonly string[];
  /** The last events, when it is not. */
  readonly lastEvents: readonly string[];
  /** Of the log of all events: the same seed gives the same. */
  readonly hash: string;
  readonly events: number;
  readonly simulatedMs: number;
  readonly readings: number;
  /** What happened how often in it. */
  readonly coverage: ReadonlyMap<string, number>;
}

export const STEPS = 30;
/** Every so many seeds the cache is a real SQLite file, copied where a process dies. */
const SQLITE_EVERY = 8;
/** The one thing that the seed does not decide: nothing that happens depends on them. */
const DEVICE = generateDeviceKey();
const CLOUD = generateCloudKey();

export async function simulate(seed: number, options: SimulationOptions = {}): Promise<Verdict> {
  const { steps = STEPS, from = 0, verbose = false } = options;
  const world = new World(new Random(seed), verbose);
  const folder = mkdtempSync(join(fastFolder(), 'sluice-simulation-'));
  const onRejection = (reason: unknown) => world.problem(`unhandled rejection: ${asError(reason).stack}`);
  process.on('unhandledRejection', onRejection);
  try {
    const clock = new ProcessClock(world, new Machine(world, EPOCH_MS));
    const cloud = new SimulatedCloud(world, clock, folder, CLOUD, DEVICE);
    const history = new History();
    const room = seed % SQLITE_EVERY === 0 ? { folder: join(folder, 'disks'), files: 0 } : undefined;
    if (room !== undefined) mkdirSync(room.folder);
    const story = new Story({ world, cloud, device: DEVICE, history, room });
    try {
      await story.tell(steps, from);
      await new Ending(story, world.random.fork()).end();
      if (world.problems.length === 0) {
        const { boxes, said, hasForked } = story;
        await judge({ world, cloud, history, device: hex(DEVICE.device), boxes, said, hasForked });
      }
    } catch (thrown) {
      world.problem(`the simulation itself failed: ${asError(thrown).stack}`);
    }
    for (const box of story.boxes) box.switchOff();
    if (cloud.isUp) cloud.stop();
    const { problems, nowMs: simulatedMs, events, coverage } = world;
    if (room !== undefined) world.count('on SQLite');
    const lastEvents = world.lastEvents();
    const readings = history.places.size;
    return { seed, problems, lastEvents, hash: world.hash(), events, simulatedMs, readings, coverage };
  } finally {
    process.off('unhandledRejection', onRejection);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Memory, where there is such a folder: what an fsync costs is not the question here. */
function fastFolder(): string {
  return existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
}
