/**
 * The drivers of a simulated gateway: a PLC that is polled, a meter whose clock is odd, and a broker that sends a message
 * again until it was told that it is safe.
 */
import { createHash } from 'node:crypto';
import type { CacheClient } from '../cache/types.ts';
import { tagFieldsSchema } from '../config/fields.ts';
import type { Pipeline, TagRegistry } from '../pipeline/index.ts';
import { ChunkBuilder, isBad, Quality, slotKind, type ValueType } from '../reading.ts';
import { POISON } from './cloud.ts';
import type { Disk } from './disk.ts';
import { readingKey } from './history.ts';
import type { Random } from './random.ts';
import type { ProcessClock, World } from './world.ts';

interface Kind {
  readonly type: ValueType;
  readonly fields?: Record<string, unknown>;
}

/** Every type of value, every trait a tag can have. */
const PLC: Readonly<Record<string, Kind>> = {
  flow: { type: 'float64' },
  pressure: { type: 'float32', fields: { alarm: { hi: { limit: 80, hysteresis: 5 }, lo: { limit: 5 } } } },
  temperature: { type: 'float64', fields: { deadband: 5, maxSilence: '10s' } },
  level: { type: 'float64', fields: { min: 0, max: 90 } },
  energy: { type: 'uint64' },
  balance: { type: 'int64', fields: { priority: 'low' } },
  pump: { type: 'bool' },
  state: { type: 'text' },
  vibration: { type: 'float64', fields: { priority: 'low' } },
};
const METER: Readonly<Record<string, Kind>> = { total: { type: 'uint64' }, power: { type: 'float64' } };
const BROKER: Readonly<Record<string, Kind>> = { value: { type: 'float64' }, text: { type: 'text' } };

/** The deadband keeps readings of it from the journal. @param name `source/tag` */
export function isThinned(name: string): boolean {
  return name.startsWith('plc/') && PLC[name.slice('plc/'.length)]?.fields?.deadband !== undefined;
}

const POLL_MS = 1500;
const MESSAGE_MS = 3000;
/** A wrong year, and within what a pipeline takes for a clock that is a little fast. */
const FUTURE_MS = [3_600_000, 60_000] as const;
const SPECIAL_NUMBERS = [0, -1, 1e300, 5e-324, Number.MAX_SAFE_INTEGER, 0.1, 1 / 3] as const;

export interface Plugged {
  readonly clock: ProcessClock;
  readonly registry: TagRegistry;
  readonly pipeline: Pipeline;
  readonly cache: CacheClient;
  readonly disk: Disk;
}

interface Message {
  readonly packetId: number;
  readonly values: readonly { readonly tag: string; readonly value: number | string; readonly timeMs: number }[];
  readonly digest: string;
}

/** The plant of one gateway; it outlives the gateway's processes. */
export class Sources {
  readonly #world: World;
  readonly #random: Random;
  /** All that any plant of the story ever said: no two readings are the same. */
  readonly #keys: Set<string>;
  /** Sent and not acknowledged. */
  readonly #unacknowledged: Message[] = [];
  #packetId = 0;
  #counter = 0n;
  isFlowing = true;
  poisons = false;
  /** So many times what a poll brings otherwise. */
  flood = 1;

  constructor(world: World, said: Set<string>) {
    this.#world = world;
    this.#keys = said;
    this.#random = world.random.fork();
  }

  /** For a process that has just started. Never rejects. */
  async start(plugged: Plugged): Promise<void> {
    const feed = new Feed(this.#world, this.#random, this.#keys, plugged);
    const receipts = new Map(
      (await plugged.cache.receipts('broker')).map(({ packetId, digest }) => [packetId, digest]),
    );
    const { clock } = plugged;
    const every = (ms: number, work: () => void): void => {
      clock.after(this.#random.between(ms * 0.8, ms * 1.2), () => {
        work();
        every(ms, work);
      });
    };
    for (const message of this.#unacknowledged) this.#publish(feed, message, receipts);
    every(POLL_MS, () => this.#poll(feed));
    every(POLL_MS * 3, () => this.#read(feed));
    every(MESSAGE_MS, () => {
      if (this.isFlowing && feed.isWilling) this.#publish(feed, this.#newMessage(plugged), receipts);
    });
  }

  /** A few good readings, so that something passes. */
  #poll(feed: Feed): void {
    if (!this.isFlowing || !feed.isWilling) return;
    const random = this.#random;
    const rows = random.chance(0.02) ? 40 : this.flood;
    for (let i = 0; i < rows; i++) {
      for (const [tag, { type }] of Object.entries(PLC)) feed.add('plc', tag, PLC, this.#value(type), this.#quality());
    }
    if (this.poisons && random.chance(0.1)) feed.add('plc', 'flow', PLC, POISON, Quality.good);
    feed.send('plc');
    if (random.chance(0.1)) feed.promise('plc');
    if (random.chance(0.02)) feed.reject('plc', random.pick(['no such register', 'not understood']));
  }

  #read(feed: Feed): void {
    if (!this.isFlowing || !feed.isWilling) return;
    const random = this.#random;
    const shiftMs = random.chance(0.1) ? random.pick(FUTURE_MS) : random.chance(0.3) ? -random.exponential(600_000) : 0;
    for (const [tag, { type }] of Object.entries(METER)) {
      feed.add('meter', tag, METER, this.#value(type), this.#quality(), shiftMs);
    }
    feed.send('meter');
  }

  #value(type: ValueType): number | bigint | string {
    const random = this.#random;
    this.#counter += BigInt(random.below(1000));
    switch (type) {
      case 'uint64':
        return random.chance(0.05) ? 2n ** 64n - 1n - this.#counter : 2n ** 53n + this.#counter;
      case 'int64':
        return random.chance(0.5) ? -this.#counter : this.#counter;
      case 'bool':
        return random.below(2);
      case 'text':
        return random.pick(['idle', 'heating', 'ünïcode ☃', '', 'x'.repeat(50)]);
      case 'float32':
        // Within its limits, mostly: each alarm hurries a commit and a batch.
        return Math.fround(random.chance(0.06) ? random.between(0, 100) : random.between(10, 70));
      default:
        if (random.chance(0.005)) return Number.NaN;
        return random.chance(0.02) ? random.pick(SPECIAL_NUMBERS) : random.between(0, 100);
    }
  }

  #quality(): number {
    if (this.#random.chance(0.9)) return Quality.good;
    return this.#random.pick([Quality.commError, Quality.sourceUncertain, Quality.deviceException]);
  }

  #newMessage({ clock }: Plugged): Message {
    this.#packetId = (this.#packetId % 65_535) + 1;
    const timeMs = clock.wallMs();
    const values = [
      { tag: 'value', value: this.#random.between(0, 1000), timeMs },
      { tag: 'text', value: `message ${this.#packetId}`, timeMs },
    ];
    const digest = createHash('sha256').update(JSON.stringify(values)).digest('hex');
    const message = { packetId: this.#packetId, values, digest };
    this.#unacknowledged.push(message);
    return message;
  }

  /** A message that was committed before the last process died is acknowledged and not stored again. */
  #publish(feed: Feed, message: Message, receipts: Map<number, string>): void {
    if (receipts.get(message.packetId) === message.digest) {
      receipts.delete(message.packetId);
      feed.duplicate('broker');
      this.#acknowledged(feed, message);
      return;
    }
    for (const { tag, value, timeMs } of message.values)
      feed.add('broker', tag, BROKER, value, Quality.good, { timeMs });
    const { packetId, digest } = message;
    if (!feed.send('broker', [{ source: 'broker', packetId, digest }])) return;
    feed.promise('broker', () => this.#acknowledged(feed, message));
  }

  #acknowledged(feed: Feed, message: Message): void {
    feed.later(this.#random.exponential(50), () => {
      const at = this.#unacknowledged.indexOf(message);
      if (at >= 0) this.#unacknowledged.splice(at, 1);
      // The broker has heard it; it will not send it again.
      feed.later(this.#random.exponential(5000), () => feed.release('broker', message.packetId));
    });
  }
}

/** One process's way into its pipeline, which remembers what it was told. */
class Feed {
  readonly #world: World;
  readonly #random: Random;
  readonly #keys: Set<string>;
  readonly #plugged: Plugged;
  #builder = new ChunkBuilder();
  /** Readings that nothing may refuse or thin, of the chunk that is being built. */
  #certain: string[] = [];
  /** Handed over, and nobody was told yet that they are safe. */
  #handedOver: string[] = [];

  constructor(world: World, random: Random, keys: Set<string>, plugged: Plugged) {
    this.#world = world;
    this.#random = random;
    this.#keys = keys;
    this.#plugged = plugged;
  }

  get isWilling(): boolean {
    return !this.#plugged.pipeline.pressed();
  }

  add(
    source: string,
    name: string,
    kinds: Readonly<Record<string, Kind>>,
    value: number | bigint | string,
    quality: number,
    time: number | { readonly timeMs: number } = 0,
  ): void {
    const { registry, clock } = this.#plugged;
    const { type, fields = {} } = kinds[name] as Kind; // its own tags
    const full = `${source}/${name}`;
    const period = source === 'broker' ? undefined : POLL_MS;
    const tag = registry.register(source, { name: full, type }, tagFieldsSchema.parse(fields), period) ?? 0;
    let timeMs = typeof time === 'number' ? Math.floor(clock.wallMs() + time) : time.timeMs;
    const text = isBad(quality) ? undefined : textOf(value, slotKind(type) === 'text');
    if (typeof time === 'number') while (this.#keys.has(readingKey(full, timeMs, text))) timeMs += 0.25;
    const key = readingKey(full, timeMs, text);
    this.#keys.add(key);
    const isPlain = fields.deadband === undefined && fields.min === undefined && !Number.isNaN(value);
    const isNow = typeof time === 'number' && time <= 0 && this.#world.nowMs > 0;
    // A step of the clock may make a message of before it "far future".
    if (isPlain && isNow && clock.synced()) this.#certain.push(key);
    if (typeof value === 'bigint') this.#builder.pushInt64(tag, timeMs, value, quality);
    else if (typeof value === 'string') this.#builder.pushText(tag, timeMs, value, quality);
    else this.#builder.push(tag, timeMs, value, quality);
  }

  send(source: string, receipts: Parameters<Pipeline['push']>[2] = []): boolean {
    const wasTaken = this.#plugged.pipeline.push(source, this.#builder.take(), receipts);
    if (wasTaken) this.#handedOver.push(...this.#certain);
    this.#certain = [];
    return wasTaken;
  }

  /** Asks for everything so far to be durable, and holds whoever says so to it. */
  promise(source: string, then: () => void = () => {}): void {
    const { pipeline, disk, clock } = this.#plugged;
    const keys = this.#handedOver;
    this.#handedOver = [];
    pipeline.durable().then(
      () => {
        if (!clock.alive) return;
        for (const key of keys) {
          if (!disk.holds(key)) this.#world.problem(`${source}: promised to be on disk, and is not: ${key}`);
          disk.promised.add(key);
        }
        then();
      },
      // It never will be: the process ends, and the plant is not told that anything is safe.
      () => {},
    );
  }

  later(meanMs: number, work: () => void): void {
    this.#plugged.clock.after(meanMs, work);
  }
  reject(source: string, reason: string): void {
    this.#plugged.pipeline.reject(source, `${source}/?`, new Uint8Array(this.#random.below(50)), reason);
  }
  duplicate(source: string): void {
    this.#plugged.pipeline.duplicate(source);
  }
  release(source: string, packetId: number): void {
    this.#plugged.pipeline.releaseReceipts(source, [packetId]);
  }
}

function textOf(value: number | bigint | string, isText: boolean): string {
  return isText ? JSON.stringify(value) : String(value);
}
