/**
 * One read of what is due: a queue of blocks, worked off in the socket's callbacks, as many at a time as the window allows.
 *
 * Its order is what keeps one bad part from harming another. What was silent the last time goes last, and a unit that is
 * silent is not asked again in the same read; so a dead unit costs at most one time-out and its retries, after everybody
 * else has been read. A unit that may be dead is asked one block at a time, the others wait for what comes of it.
 */
import type { GroupFault } from '../../src/driver.ts';
import { SluiceError } from '../../src/errors.ts';
import { ChunkBuilder, Quality } from '../../src/reading.ts';
import type { Clock, Timer } from '../../src/runtime/clock.ts';
import type { Block, GroupReads, UnitState } from './blocks.ts';
import { dataOf, exceptionCode, isAboutRegisters, isBusy, isException, isUnitSilent, showRequest } from './reply.ts';
import type { TcpTransport } from './transport-tcp.ts';

export interface CycleOptions {
  readonly timeoutMs: number;
  readonly retries: number;
  readonly requestDelayMs: number;
}

/** What a read brought. */
export interface CycleResult {
  readonly faults: readonly GroupFault[];
  /** `silent`: something was asked, and nothing usable came back from anybody. `idle`: nothing was asked. */
  readonly line: 'useful' | 'silent' | 'idle';
}

export class ReadCycle {
  readonly #transport: TcpTransport<Block>;
  readonly #options: CycleOptions;
  readonly #clock: Clock;
  readonly #onDone: (result: CycleResult) => void;
  readonly #queue: Block[] = [];
  /** First block of the queue that was not taken yet. */
  #next = 0;
  #groups: readonly GroupReads[] = [];
  #out = new ChunkBuilder();
  #isRunning = false;
  #line: CycleResult['line'] = 'idle';
  #delay: Timer | undefined;
  #quietUntilMs = 0;
  /** Replies in a row that answered something else; a right one ends the row, the end of a read does not. */
  #wrongReplies = 0;

  constructor(
    transport: TcpTransport<Block>,
    options: CycleOptions,
    clock: Clock,
    onDone: (result: CycleResult) => void,
  ) {
    this.#transport = transport;
    this.#options = options;
    this.#clock = clock;
    this.#onDone = onDone;
  }

  /** Calls `onDone` when all is read, at once when there is nothing to ask. */
  start(groups: readonly GroupReads[], out: ChunkBuilder): void {
    this.#groups = groups;
    this.#out = out;
    this.#isRunning = true;
    this.#line = 'idle';
    this.#fillQueue(groups);
    this.#pump();
  }

  /** Nothing that still comes touches the chunk. */
  stop(): void {
    this.#isRunning = false;
    this.#transport.abandon();
    this.#delay?.cancel();
    this.#delay = undefined;
  }

  onReply(block: Block, bytes: Uint8Array, start: number, end: number): void {
    this.#settled(block);
    const data = dataOf(block, bytes, start, end);
    if (typeof data === 'number') {
      this.#heard(block.group.unit);
      block.decoder.decode(bytes, data, this.#clock.wallMs(), this.#out);
      block.succeed();
    } else if (isException(data)) this.#refused(block, data);
    else this.#mistaken(block, data);
    this.#pump();
  }

  onTimeout(block: Block): void {
    this.#settled(block);
    const { unit } = block.group;
    unit.isAlive = false;
    if (this.#line === 'idle') this.#line = 'silent';
    if (unit.silence !== undefined) this.#fail(block, unit.silence, Quality.commError);
    else if (++block.failures <= this.#options.retries) this.#again(block);
    else this.#silence(block, this.#timeoutError(block));
    this.#pump();
  }

  #fillQueue(groups: readonly GroupReads[]): void {
    const nowMs = this.#clock.monoMs();
    const queue = this.#queue;
    queue.length = 0;
    this.#next = 0;
    for (const group of groups) {
      group.unit.beginRead();
      group.beginRead(nowMs);
      if (group.refused.size > 0) this.#pushRefused(group);
    }
    for (let doubt = 0, left = true; left; doubt++) {
      left = false;
      for (const group of groups) {
        for (const block of group.blocks) {
          const its = doubtOf(block);
          if (its === doubt) queue.push(block);
          else if (its > doubt) left = true;
        }
      }
    }
    for (const block of queue) block.failures = 0;
  }

  /** Sends what may be sent, and ends the read when there is nothing left. */
  #pump(): void {
    const transport = this.#transport;
    if (!this.#isRunning || this.#delay !== undefined) return;
    while (transport.free > 0 && this.#next < this.#queue.length) {
      const block = this.#queue[this.#next];
      if (block === undefined || this.#isPaused()) break;
      this.#next++;
      if (!this.#mayAsk(block)) continue;
      block.group.unit.inFlight++;
      transport.send(block);
      this.#beQuiet();
    }
    transport.flush();
    if (transport.inFlight === 0 && this.#next >= this.#queue.length) this.#finish();
  }

  #mayAsk(block: Block): boolean {
    const { unit } = block.group;
    if (unit.silence !== undefined) this.#fail(block, unit.silence, Quality.commError);
    else if (block.busyError !== undefined && this.#clock.monoMs() < block.notBeforeMs) {
      this.#fail(block, block.busyError, Quality.deviceException);
    } else if (!unit.isAlive && unit.inFlight > 0) unit.waiting.push(block);
    else return true;
    return false;
  }

  /** A device that needs time between requests gets it, whatever came of the last one. */
  #beQuiet(): void {
    const { requestDelayMs } = this.#options;
    if (requestDelayMs > 0) this.#quietUntilMs = this.#clock.monoMs() + requestDelayMs;
  }

  #isPaused(): boolean {
    if (this.#options.requestDelayMs === 0) return false;
    const leftMs = this.#quietUntilMs - this.#clock.monoMs();
    if (leftMs <= 0) return false;
    this.#delay = this.#clock.after(leftMs, () => {
      this.#delay = undefined;
      this.#transport.guarded(() => this.#pump());
    });
    return true;
  }

  #settled(block: Block): void {
    block.group.unit.inFlight--;
    this.#beQuiet();
  }

  /** A usable answer, be it "no". */
  #heard(unit: UnitState): void {
    unit.isAlive = true;
    unit.hasAnswered = true;
    this.#line = 'useful';
    this.#wrongReplies = 0;
    this.#release(unit);
  }

  #release(unit: UnitState): void {
    if (unit.waiting.length === 0) return;
    this.#queue.push(...unit.waiting);
    unit.waiting.length = 0;
  }

  #refused(block: Block, error: SluiceError): void {
    const code = exceptionCode(error);
    if (isUnitSilent(code)) {
      // The gateway lives, so the connection does.
      this.#line = 'useful';
      this.#wrongReplies = 0;
      block.group.unit.isAlive = false;
      this.#silence(block, error);
      return;
    }
    this.#heard(block.group.unit);
    block.isSuspect = false;
    if (isAboutRegisters(code) && block.tags.length > 1) {
      this.#queue.push(...block.halves());
      return;
    }
    const [tag] = block.tags;
    if (isAboutRegisters(code) && tag !== undefined) block.group.learnRefused(tag, error);
    if (isBusy(code)) block.backOff(this.#clock.monoMs(), error);
    this.#fail(block, error, Quality.deviceException);
  }

  /** A reply to this request that answers another one. */
  #mistaken(block: Block, error: SluiceError): void {
    if (this.#line === 'idle') this.#line = 'silent';
    // More than one block's tries: it is not one odd register, the peer is out of step.
    if (++this.#wrongReplies > this.#options.retries + 1) this.#transport.drop(error);
    else if (++block.failures <= this.#options.retries) this.#again(block);
    else {
      this.#fail(block, error, Quality.commError);
      this.#release(block.group.unit);
    }
  }

  /** Before all others: its place at the front is free since it was taken from there. */
  #again(block: Block): void {
    this.#queue[--this.#next] = block;
  }

  #silence(block: Block, error: SluiceError): void {
    const { unit } = block.group;
    block.isSuspect = true;
    unit.silence = error;
    this.#fail(block, error, Quality.commError);
    this.#release(unit);
  }

  #fail(block: Block, error: SluiceError, quality: number): void {
    block.group.fault ??= error;
    block.decoder.fail(this.#clock.wallMs(), quality, this.#out);
  }

  #pushRefused(group: GroupReads): void {
    const timeMs = this.#clock.wallMs();
    group.fault = group.refusal;
    for (const tag of group.refused.keys()) this.#out.push(tag.index, timeMs, 0, Quality.deviceException);
  }

  #finish(): void {
    this.stop();
    const faults: GroupFault[] = [];
    const nowMs = this.#clock.monoMs();
    for (const group of this.#groups) {
      group.endRead(nowMs);
      if (group.fault !== undefined) faults.push(faultOf(group, group.fault));
    }
    this.#onDone({ faults, line: this.#line });
  }

  #timeoutError(block: Block): SluiceError {
    const { timeoutMs, retries } = this.#options;
    return new SluiceError(
      'modbus.timeout',
      'retry',
      `unit ${block.unit} did not answer ${showRequest(block)} in ${timeoutMs} ms (asked ${retries + 1} times)`,
      {
        hint: 'Check that the unit is on and its id is right. Late answers mean a time-out that is too short.',
        facts: { unit: block.unit, timeoutMs, attempts: retries + 1, lateReplies: this.#transport.strays },
      },
    );
  }
}

/** The later the likelier it will be silent: a block that was, and before it what else its silent unit has. */
function doubtOf(block: Block): number {
  if (block.isSuspect) return 2;
  return block.group.unit.isAlive ? 0 : 1;
}

function faultOf(group: GroupReads, error: SluiceError): GroupFault {
  const isNo = isException(error) && !isUnitSilent(exceptionCode(error));
  return { group: group.id, error, unitDown: !isNo && !group.unit.hasAnswered };
}
