/** A source without a device: shapes for demonstrations, tests and load. Everything is computed from the clock and the seed. */
import { z } from 'zod';
import { durationFrom, tagFields, tagName, valueType } from '../../src/config/fields.ts';
import { defineDriver, type GroupPlan, type PollSession, type TagPlan } from '../../src/driver.ts';
import { SluiceError } from '../../src/errors.ts';
import { type ChunkBuilder, Quality, slotKind } from '../../src/reading.ts';
import { type Generator, makeGenerator, SHAPES, type ShapeSettings } from './shapes.ts';

const EVERY_MS = 1000;
/** As many as the largest gateway that we measure. */
const TAGS_MAX = 100_000;

const tag = z.strictObject({
  ...tagFields,
  name: tagName(),
  type: valueType().optional(),
  shape: z.enum(SHAPES).default('sine'),
  /** One full turn of sine, ramp and square; how long each text stays. */
  period: durationFrom(1, '1ms').default(60_000),
  /** Half the height of sine, ramp and square. */
  amplitude: z.number().default(1),
  /** The middle; where counter and random-walk begin. */
  offset: z.number().default(0),
  /** What a counter adds a read; the farthest a random walk goes a read. */
  step: z.number().default(1),
  /** What a text tag says, in turn. */
  texts: z.array(z.string().max(1000)).min(1).default(['idle', 'running', 'stopped']),
  /** So many tags of this kind: name_0, name_1, … with as many digits as the last one needs. */
  count: z.int().min(1).max(TAGS_MAX).optional(),
});

const schema = z.strictObject({
  every: durationFrom(1, '1ms').default(EVERY_MS),
  tags: z.array(tag).min(1),
});
type Config = z.output<typeof schema>;

export const simulator = defineDriver<typeof schema, ShapeSettings>({
  name: 'simulator',
  mode: 'poll',
  schema,
  endpoint: () => 'simulator',
  plan,
  async open(_config, groups, context, signal): Promise<PollSession> {
    signal.throwIfAborted();
    const series = groups.map((group) =>
      group.tags.map((planned) => ({ index: planned.index, next: makeGenerator(planned.address, context.random) })),
    );
    let close = () => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    let open = true;
    return {
      mode: 'poll',
      closed,
      async read(due, out, aborted) {
        aborted.throwIfAborted();
        if (!open) throw new SluiceError('simulator.closed', 'retry', 'the simulator was closed');
        const timeMs = context.clock.wallMs();
        for (const group of due) for (const { index, next } of series[group] ?? []) push(out, index, timeMs, next);
        return [];
      },
      async close() {
        open = false;
        close();
      },
    };
  },
});

function plan(config: Config): GroupPlan<ShapeSettings>[] {
  const tags = config.tags.flatMap(planTags);
  if (tags.length > TAGS_MAX) {
    throw new SluiceError(
      'config.too_many_tags',
      'stop',
      `a simulator has at most ${TAGS_MAX} tags, not ${tags.length}`,
    );
  }
  const names = new Set<string>();
  for (const { name } of tags) {
    if (names.has(name)) throw new SluiceError('config.duplicate_tag', 'stop', `the tag ${name} is there twice`);
    names.add(name);
  }
  return [{ unit: 'simulator', everyMs: config.every, tags }];
}

function planTags(settings: Config['tags'][number]): TagPlan<ShapeSettings>[] {
  const { name, type: stated, shape, period, amplitude, offset, step, texts, count, ...fields } = settings;
  const type = stated ?? (shape === 'text' ? 'text' : shape === 'square' ? 'bool' : 'float64');
  if ((shape === 'text') !== (type === 'text')) {
    throw new SluiceError(
      'config.shape_and_type',
      'stop',
      `the tag ${name} has the shape ${shape} but the type ${type}`,
    );
  }
  const { unit, description, location, deviceType } = fields;
  const about = {
    type,
    fields,
    address: { shape, type, periodMs: period, amplitude, offset, step, texts },
    ...(unit === undefined ? {} : { unit }),
    ...(description === undefined ? {} : { description }),
    ...(location === undefined ? {} : { location }),
    ...(deviceType === undefined ? {} : { deviceType }),
  };
  if (count === undefined) return [{ name, ...about }];
  const digits = String(count - 1).length;
  return Array.from({ length: count }, (_, at) => ({ name: `${name}_${String(at).padStart(digits, '0')}`, ...about }));
}

function push(out: ChunkBuilder, index: number, timeMs: number, next: Generator): void {
  const { value, type } = next(timeMs);
  const kind = slotKind(type);
  if (kind === 'text') out.pushText(index, timeMs, String(value), Quality.good);
  else if (kind === 'int64' || kind === 'uint64') out.pushInt64(index, timeMs, BigInt(value), Quality.good);
  else out.push(index, timeMs, Number(value), Quality.good);
}
