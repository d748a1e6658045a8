/** Opens a Modbus source as the runner would and reads it into plain values. */
import { modbus } from '../../../drivers/modbus/index.ts';
import type { GroupFault, PollSession } from '../../../src/driver.ts';
import {
  ChunkBuilder,
  type PlainValue,
  type Reason,
  reasonOf,
  statusOf,
  type ValueType,
  valueReader,
} from '../../../src/reading.ts';
import { type Clock, systemClock } from '../../../src/runtime/clock.ts';

export interface Seen {
  readonly value: PlainValue;
  readonly quality: string;
  readonly reason: Reason;
  readonly timeMs: number;
}

export interface TestSource {
  readonly session: PollSession;
  /** Reads the groups and says what came, by tag. */
  read(
    due?: readonly number[],
    signal?: AbortSignal,
  ): Promise<{ tags: Map<string, Seen>; faults: readonly GroupFault[] }>;
  /** Values of all tags. */
  values(): Promise<Record<string, PlainValue>>;
}

export async function openModbus(settings: unknown, clock: Clock = systemClock): Promise<TestSource> {
  const source = modbus.prepare(modbus.schema.parse(settings));
  const tags: { name: string; type: ValueType }[] = [];
  const indexes = source.groups.map((group) => group.tags.map((tag) => tags.push(tag) - 1));
  if (source.open.mode !== 'poll') throw new Error('modbus polls');
  const context = { gateway: 'box', source: 'test', clock, random: () => 0.5 };
  const session = await source.open.session(indexes, context, new AbortController().signal);
  const everything = indexes.map((_, group) => group);
  const read: TestSource['read'] = async (due = everything, signal = new AbortController().signal) => {
    const out = new ChunkBuilder();
    const faults = await session.read(due, out, signal);
    const chunk = out.take();
    const valueAt = valueReader(chunk);
    const seen = new Map<string, Seen>();
    for (let row = 0; row < chunk.length; row++) {
      const tag = tags[chunk.tag[row] ?? -1];
      if (tag === undefined || seen.has(tag.name)) throw new Error(`a reading too many: ${tag?.name}`);
      const quality = chunk.quality[row] ?? 0xff;
      seen.set(tag.name, {
        value: valueAt(row, tag.type),
        quality: statusOf(quality),
        reason: reasonOf(quality),
        timeMs: chunk.timeMs[row] ?? 0,
      });
    }
    return { tags: seen, faults };
  };
  const values = async () => {
    const { tags: seen, faults } = await read();
    if (faults[0] !== undefined) throw faults[0].error;
    return Object.fromEntries([...seen].map(([name, { value }]) => [name, value]));
  };
  return { session, read, values };
}
