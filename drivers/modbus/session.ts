/** One connection's life: opened, read from one read at a time, lost or closed. How a read goes: cycle.ts. */
import type { DriverContext, GroupFault, PollSession, TagGroup } from '../../src/driver.ts';
import { SluiceError } from '../../src/errors.ts';
import type { ChunkBuilder } from '../../src/reading.ts';
import type { Clock } from '../../src/runtime/clock.ts';
import { type Block, GroupReads, UnitState } from './blocks.ts';
import type { ModbusConfig } from './config.ts';
import { type CycleResult, ReadCycle } from './cycle.ts';
import type { ModbusAddress } from './decode.ts';
import { type ReplyHandler, TcpTransport } from './transport-tcp.ts';

/**
 * Reads in a row without any usable answer after which a connection is taken for half-open: a peer that went without a word
 * looks just like that, and a connection made anew costs little.
 */
const SILENT_READS_MAX = 3;

/** A read under way. */
interface Pending {
  readonly signal: AbortSignal;
  readonly onAbort: () => void;
  readonly resolve: (faults: readonly GroupFault[]) => void;
  readonly reject: (reason: unknown) => void;
}

export class ModbusSession implements PollSession, ReplyHandler<Block> {
  readonly mode = 'poll';
  readonly closed: Promise<void>;
  readonly #transport: TcpTransport<Block>;
  readonly #cycle: ReadCycle;
  readonly #groups: ReadonlyMap<number, GroupReads>;
  #resolveClosed: () => void = () => {};
  #rejectClosed: (error: SluiceError) => void = () => {};
  /** Why nothing can be read any more. */
  #end: SluiceError | undefined;
  #pending: Pending | undefined;
  #silentReads = 0;

  /** @throws `modbus.connect`, or the signal's reason. */
  static async open(
    config: ModbusConfig,
    groups: readonly TagGroup<ModbusAddress>[],
    { clock }: DriverContext,
    signal: AbortSignal,
  ): Promise<ModbusSession> {
    const { transport: address, connectTimeout: connectTimeoutMs, timeout: timeoutMs, window } = config;
    const transport = await TcpTransport.open<Block>({ address, connectTimeoutMs, timeoutMs, window, clock }, signal);
    return new ModbusSession(transport, config, groups, clock);
  }

  private constructor(
    transport: TcpTransport<Block>,
    config: ModbusConfig,
    groups: readonly TagGroup<ModbusAddress>[],
    clock: Clock,
  ) {
    const { timeout: timeoutMs, retries, requestDelay: requestDelayMs } = config;
    const units = new Map<string, UnitState>();
    this.#groups = new Map(groups.map((group) => [group.id, new GroupReads(group, unitOf(group, units), config)]));
    this.closed = new Promise((resolve, reject) => {
      this.#resolveClosed = resolve;
      this.#rejectClosed = reject;
    });
    // The runner may look at it only after a read that failed.
    this.closed.catch(() => {});
    this.#transport = transport;
    this.#cycle = new ReadCycle(transport, { timeoutMs, retries, requestDelayMs }, clock, (result) =>
      this.#done(result),
    );
    transport.start(this);
  }

  /** Replies that came too late or to nothing, since the connection was made. */
  get strays(): number {
    return this.#transport.strays;
  }

  async read(due: readonly number[], out: ChunkBuilder, signal: AbortSignal): Promise<readonly GroupFault[]> {
    if (this.#end !== undefined) throw this.#end;
    signal.throwIfAborted();
    const groups = due.map((id) => this.#groups.get(id)).filter((group) => group !== undefined);
    return new Promise((resolve, reject) => {
      const onAbort = () => this.#takePending()?.reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#pending = { signal, onAbort, resolve, reject };
      this.#transport.guarded(() => this.#cycle.start(groups, out));
    });
  }

  async close(): Promise<void> {
    this.#end ??= new SluiceError('modbus.closed', 'stop', 'the session was closed');
    this.#takePending()?.reject(this.#end);
    await this.#transport.close();
    this.#resolveClosed();
  }

  onReply(block: Block, bytes: Uint8Array, start: number, end: number): void {
    this.#cycle.onReply(block, bytes, start, end);
  }

  onTimeout(block: Block): void {
    this.#cycle.onTimeout(block);
  }

  onLost(error: SluiceError): void {
    this.#end ??= error;
    this.#takePending()?.reject(this.#end);
    this.#rejectClosed(this.#end);
  }

  #done({ faults, line }: CycleResult): void {
    this.#takePending()?.resolve(faults);
    if (line === 'useful') this.#silentReads = 0;
    else if (line === 'silent' && ++this.#silentReads >= SILENT_READS_MAX) this.#transport.drop(this.#halfOpen());
  }

  /** Ends the read under way, if there is one. */
  #takePending(): Pending | undefined {
    const pending = this.#pending;
    if (pending === undefined) return undefined;
    this.#pending = undefined;
    this.#cycle.stop();
    pending.signal.removeEventListener('abort', pending.onAbort);
    return pending;
  }

  #halfOpen(): SluiceError {
    return new SluiceError('modbus.silent', 'retry', `no usable answer in ${SILENT_READS_MAX} reads: connecting anew`, {
      hint: 'The peer takes connections and answers nothing; check the unit ids and the devices behind it.',
      facts: { lateReplies: this.strays },
    });
  }
}

function unitOf(group: TagGroup<ModbusAddress>, units: Map<string, UnitState>): UnitState {
  let unit = units.get(group.unit);
  if (unit === undefined) {
    unit = new UnitState(group.tags[0]?.address.unit ?? 0);
    units.set(group.unit, unit);
  }
  return unit;
}
