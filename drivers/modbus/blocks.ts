/**
 * What is asked of a device for one group of tags: blocks, made once and asked again and again, and what was learned about
 * registers that the device does not have.
 *
 * A read that is refused with exception 2 or 3 is halved in the same cycle until the tags that are refused stand alone;
 * where both halves pass, what lies between them is a hole. From the next cycle on the reads go around all that. Every ten
 * minutes it is forgotten once, because devices are reconfigured.
 */
import type { TagGroup } from '../../src/driver.ts';
import { SluiceError } from '../../src/errors.ts';
import type { Table } from './address.ts';
import { BlockDecoder, type BoundTag, type ModbusAddress } from './decode.ts';
import type { ReadFrame } from './frame.ts';
import { type Hole, planReads, type ReadLimits, type ReadRequest } from './plan.ts';

const HOLES_KEPT_MS = 600_000;
const BUSY_FIRST_MS = 1_000;
const BUSY_MAX_MS = 30_000;

const FUNCTION_CODES: Readonly<Record<Table, number>> = { coil: 1, discrete: 2, holding: 3, input: 4 };

/** What all groups of one unit share. */
export class UnitState {
  readonly id: number;
  /** Answered when it was last asked: only then more than one request is risked at the same time. */
  isAlive = true;
  /** Gave a usable answer, an exception included, in this read. */
  hasAnswered = false;
  /** Why it is not asked any more in this read. */
  silence: SluiceError | undefined;
  inFlight = 0;
  /** Blocks held back until the one request on the wire is settled. */
  waiting: Block[] = [];

  constructor(id: number) {
    this.id = id;
  }

  beginRead(): void {
    this.hasAnswered = false;
    this.silence = undefined;
    this.inFlight = 0;
    this.waiting.length = 0;
  }
}

/** Two halves of a refused read; when both pass, the border between them is what was refused. */
interface Split {
  readonly table: Table;
  readonly leftEnd: number;
  readonly rightStart: number;
  passed: number;
}

export class Block implements ReadFrame {
  readonly unit: number;
  readonly functionCode: number;
  readonly address: number;
  readonly count: number;
  readonly tags: readonly BoundTag[];
  readonly group: GroupReads;
  readonly decoder: BlockDecoder;
  readonly split: Split | undefined;
  /** Time-outs and unusable replies so far in this read. */
  failures = 0;
  /** Gave no answer when it was last asked: asked last, so that it costs nobody else their time. */
  isSuspect = false;
  /** The device asked for time: not before this (monotonic ms). */
  notBeforeMs = 0;
  busyError: SluiceError | undefined;
  #busyMs = 0;

  constructor(request: ReadRequest<BoundTag>, group: GroupReads, split?: Split) {
    this.unit = group.unit.id;
    this.functionCode = FUNCTION_CODES[request.table];
    this.address = request.address;
    this.count = request.count;
    this.tags = request.tags;
    this.group = group;
    this.decoder = new BlockDecoder(request);
    this.split = split;
  }

  backOff(nowMs: number, error: SluiceError): void {
    this.#busyMs = Math.min(BUSY_MAX_MS, this.#busyMs === 0 ? BUSY_FIRST_MS : this.#busyMs * 2);
    this.notBeforeMs = nowMs + this.#busyMs;
    this.busyError = error;
  }

  succeed(): void {
    this.isSuspect = false;
    this.#busyMs = 0;
    this.busyError = undefined;
    if (this.split !== undefined && ++this.split.passed === 2) this.group.learnHole(this.split);
  }

  halves(): Block[] {
    const middle = this.tags.length >> 1;
    const left = spanOf(this.tags.slice(0, middle));
    const right = spanOf(this.tags.slice(middle));
    const leftEnd = left.address + left.count;
    const split = { table: left.table, leftEnd, rightStart: Math.max(leftEnd, right.address), passed: 0 };
    return [new Block(left, this.group, split), new Block(right, this.group, split)];
  }
}

export class GroupReads {
  readonly id: number;
  readonly unit: UnitState;
  blocks: Block[] = [];
  /** Tags the device refuses when they are read alone. */
  readonly refused = new Map<BoundTag, SluiceError>();
  /** One error for all of them, made when they change. */
  refusal: SluiceError | undefined;
  /** The first thing that went wrong in this read. */
  fault: SluiceError | undefined;
  readonly #tags: readonly BoundTag[];
  readonly #names: ReadonlyMap<BoundTag, string>;
  readonly #limits: ReadLimits;
  #holes: Hole[] = [];
  #hasLearned = false;
  #forgetAtMs = Number.POSITIVE_INFINITY;

  constructor(group: TagGroup<ModbusAddress>, unit: UnitState, limits: ReadLimits) {
    this.id = group.id;
    this.unit = unit;
    this.#limits = limits;
    const bound = group.tags.map((tag): [BoundTag, string] => [{ ...tag.address, index: tag.index }, tag.name]);
    this.#tags = bound.map(([tag]) => tag);
    this.#names = new Map(bound);
    this.#plan();
  }

  beginRead(nowMs: number): void {
    this.fault = undefined;
    if (nowMs < this.#forgetAtMs) return;
    this.#forgetAtMs = Number.POSITIVE_INFINITY;
    this.#holes = [];
    this.refused.clear();
    this.#plan();
  }

  learnRefused(tag: BoundTag, error: SluiceError): void {
    this.refused.set(tag, error);
    this.#holes.push({ table: tag.table, from: tag.address, to: tag.address + tag.count });
    this.#hasLearned = true;
  }

  learnHole(split: Split): void {
    this.#holes.push({ table: split.table, from: split.leftEnd, to: split.rightStart });
    this.#hasLearned = true;
  }

  endRead(nowMs: number): void {
    if (!this.#hasLearned) return;
    this.#hasLearned = false;
    this.#forgetAtMs = Math.min(this.#forgetAtMs, nowMs + HOLES_KEPT_MS);
    this.#plan();
  }

  #plan(): void {
    const tags = this.refused.size === 0 ? this.#tags : this.#tags.filter((tag) => !this.refused.has(tag));
    this.blocks = planReads(tags, this.#limits, this.#holes).map((request) => new Block(request, this));
    this.refusal = this.#refusal();
  }

  #refusal(): SluiceError | undefined {
    const [first] = this.refused.values();
    if (first === undefined) return undefined;
    const names = [...this.refused.keys()].map((tag) => this.#names.get(tag) ?? '');
    const shown = names.slice(0, REFUSED_SHOWN).join(', ');
    const more = names.length > REFUSED_SHOWN ? ` and ${names.length - REFUSED_SHOWN} more` : '';
    return new SluiceError('modbus.exception', 'retry', `the device refuses ${shown}${more}`, {
      hint: `Check these registers in the device's manual. They are tried again every ${HOLES_KEPT_MS / 60_000} minutes.`,
      cause: first,
      facts: { ...first.facts, tags: shown, count: names.length },
    });
  }
}

const REFUSED_SHOWN = 8;

/** One read over tags that were in one read before, so it keeps every cap. */
function spanOf(tags: readonly BoundTag[]): ReadRequest<BoundTag> {
  const address = Math.min(...tags.map((tag) => tag.address));
  const end = Math.max(...tags.map((tag) => tag.address + tag.count));
  return { table: tags[0]?.table ?? 'holding', address, count: end - address, tags };
}
