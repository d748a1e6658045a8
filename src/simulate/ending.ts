/** How every story ends: everything works again, until nothing waits for anything. */
import { CLOUD_TARGET } from '../uplink/index.ts';
import { DOUBLE_MS_MAX } from './network.ts';
import { checkLedger } from './oracle.ts';
import type { Random } from './random.ts';
import type { Story } from './story.ts';

const HOUR_MS = 3_600_000;
/** Holds, back-offs and parked rows included. */
const DRAIN_MS_MAX = 4 * HOUR_MS;
/** Memory presses for ten seconds after its peak; the disk and its blocks are looked at every two. */
const RELIEVED_MS = 20_000;

export class Ending {
  readonly #story: Story;
  readonly #random: Random;

  constructor(story: Story, random: Random) {
    this.#story = story;
    this.#random = random;
  }

  /** Everything works again; when this is over, nothing waits for anything. */
  async end(): Promise<void> {
    const { world, cloud } = this.#story.parts;
    world.log('all is well again');
    this.#story.network.weather = 'fine';
    cloud.refusesPoison = false;
    cloud.busyShare = 0;
    cloud.sizeMax = 1_000_000;
    if (cloud.isUp) cloud.stop();
    cloud.start();
    this.#story.network.outageEndsMs = 0;
    for (const { disk, parts } of this.#story.boxes) {
      disk.full = false;
      disk.othersBytes = 0;
      disk.ambush = undefined;
      parts.machine.correct();
      parts.sources.poisons = false;
      parts.sources.flood = 1;
    }
    await world.sleep(20_000);
    for (const { parts } of this.#story.boxes) parts.sources.isFlowing = false;
    await this.#relieved();
    await this.#restartAll();
    await this.#drained();
    if (this.#random.chance(0.15)) {
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

  /** What pressed is gone: the ladder climbs back by itself, without a restart. */
  async #relieved(): Promise<void> {
    const { world } = this.#story.parts;
    await this.#drained();
    await world.sleep(RELIEVED_MS);
    for (const { name, core } of this.#story.boxes) {
      if (world.problems.length === 0 && core !== undefined && core.ladder.level > 0)
        world.problem(`${name} does not come down: ${JSON.stringify(core.ladder)}`);
    }
  }

  async #flow(forMs: number): Promise<void> {
    for (const { parts } of this.#story.boxes) parts.sources.isFlowing = true;
    await this.#story.parts.world.sleep(forMs);
    for (const { parts } of this.#story.boxes) parts.sources.isFlowing = false;
  }

  async #restartAll(): Promise<void> {
    const { world } = this.#story.parts;
    for (const box of this.#story.boxes) {
      let isStopped = false;
      box.stop().then(() => {
        isStopped = true;
      });
      await world.run(world.nowMs + 60_000, () => isStopped);
      if (!isStopped && world.problems.length === 0) world.problem(`${box.name} did not stop within a minute`);
      checkLedger(world, box);
      box.start();
    }
  }

  async #drained(): Promise<void> {
    const { world } = this.#story.parts;
    const isDrained = () =>
      this.#story.boxes.every(
        ({ core, uplink }) => core?.backlog(CLOUD_TARGET).pendingRows === 0 && uplink !== undefined,
      );
    const untilMs = world.nowMs + DRAIN_MS_MAX;
    for (let isDone = false; !isDone && world.nowMs < untilMs && world.problems.length === 0; ) {
      await world.sleep(1000);
      isDone = isDrained();
    }
    if (world.problems.length > 0 || isDrained()) return;
    for (const { name, core, uplink } of this.#story.boxes)
      world.problem(
        `${name} is not drained: ${JSON.stringify(core?.backlog(CLOUD_TARGET))} ${JSON.stringify(uplink?.state())}`,
      );
  }
}
