/**
 * Fields that several parts of the configuration share, drivers included. Durations and sizes carry their units in the
 * file (`250ms`, `1GB`) and are plain numbers (milliseconds, bytes) in the program.
 */
import { z } from 'zod';
import { VALUE_TYPES } from '../reading.ts';

const DURATION_MS = { ms: 1, s: 1000, min: 60_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const DECIMAL_BYTES = { B: 1, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 } as const;
const SIZE_BYTES = { ...DECIMAL_BYTES, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;

function withUnit(units: Readonly<Record<string, number>>, example: string) {
  const pattern = new RegExp(`^\\s*(\\d+(?:\\.\\d+)?)\\s*(${Object.keys(units).join('|')})\\s*$`);
  return z
    .union([z.string(), z.number()], { error: `expected a number with its unit, such as ${example}` })
    .transform((input, context) => {
      const match = pattern.exec(String(input));
      if (match === null) {
        const known = Object.keys(units).join(', ');
        context.addIssue(
          `expected a number with its unit (${known}), such as ${example}, not ${JSON.stringify(input)}`,
        );
        return z.NEVER;
      }
      return Number(match[1]) * (units[match[2] ?? ''] ?? Number.NaN);
    });
}

/** `250ms`, `5s`, `1min`, `2h`, `14d` → milliseconds. */
export const duration = () => withUnit(DURATION_MS, '5s');
/** A duration from `minMs` on. */
export const durationFrom = (minMs: number, text: string) =>
  duration().refine((ms) => ms >= minMs, { error: `must be at least ${text}` });
/** `64kB`, `1GB`, `512MiB` → bytes. */
export const size = () => withUnit(SIZE_BYTES, '1GB');

/** A level of a topic or tag name: no MQTT wildcards, separators or control characters, at most 128 characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it keeps out
const NAME = /^(?![$\s])[^\u0000-\u001f\u007f+#/"'\\]{1,128}(?<!\s)$/u;
export const name = () =>
  z.string().regex(NAME, {
    error:
      'a name has 1 to 128 characters, none of them + # / " \' \\ or a control character, and does not start with $',
  });
/** A tag's name within its source: one or more levels, separated by `/`. */
export const tagName = () =>
  z.string().refine((text) => text.length <= 256 && text.split('/').every((level) => NAME.test(level)), {
    error: 'a tag name has levels of 1 to 128 characters separated by /, none with + # " \' \\ or a control character',
  });

/** The JSON Schema format of file names. */
export const FILE_PATH_FORMAT = 'path';
/** A file or folder of this machine. A relative one is taken from the config file's folder, wherever the daemon was started. */
export const filePath = () => z.string().min(1).meta({ format: FILE_PATH_FORMAT });

const LISTEN = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/;
const PORT_MAX = 65_535;

/** `127.0.0.1:1883` or `[::1]:1883` → where to listen; port 0 takes a free one. */
export const listenAddress = () =>
  z
    .string()
    .refine((text) => Number(LISTEN.exec(text)?.[3] ?? Number.NaN) <= PORT_MAX, {
      error: 'expected an address and a port, such as 127.0.0.1:1883 or [::1]:1883',
      abort: true,
    })
    .transform((text) => {
      const [, six, four, port] = LISTEN.exec(text) ?? [];
      return { host: six ?? four ?? '', port: Number(port) };
    });

export const valueType = () => z.enum(VALUE_TYPES);

const limit = z.strictObject({
  limit: z.number(),
  /** The alarm clears when the value is back by this much, in the tag's unit. */
  hysteresis: z.number().min(0).default(0),
  /** How long the limit must be passed before the alarm is raised. */
  delay: duration().default(0),
});

/** What a sliding window is compared by: `range` is max − min, `rate` the change a minute, `stddev` of a sample (n − 1). */
export const SLIDING_AGGREGATES = ['mean', 'min', 'max', 'range', 'stddev', 'count', 'rate'] as const;
export type SlidingAggregate = (typeof SLIDING_AGGREGATES)[number];
/** One day: longer ones belong to the cloud, which outlives a restart of the box. */
const SLIDING_OVER_MS_MAX = 86_400_000;
/** Each is 5 kB of memory and looked at with every reading of its tag. */
const SLIDING_MAX = 8;

const sliding = z
  .strictObject({
    /** Length of the window, by the times of the readings. */
    over: durationFrom(1000, '1s').refine((ms) => ms <= SLIDING_OVER_MS_MAX, { error: 'must be at most 1d' }),
    of: z.enum(SLIDING_AGGREGATES),
    hi: limit.optional(),
    lo: limit.optional(),
  })
  .refine(({ hi, lo }) => hi !== undefined || lo !== undefined, { error: 'needs hi, lo or both' });

const slidings = () =>
  z
    .array(sliding)
    .max(SLIDING_MAX)
    .refine((all) => new Set(all.map(({ of, over }) => `${of} ${over}`)).size === all.length, {
      error: 'each combination of `of` and `over` once',
    });

/** What every tag of every driver may say. Spread into a driver's own tag schema: `z.strictObject({ ...tagFields, register: … })`. */
export const tagFields = {
  unit: z.string().max(32).optional(),
  description: z.string().max(256).optional(),
  location: z.string().max(256).optional(),
  deviceType: z.string().max(128).optional(),
  /** Changes smaller than this, in the tag's unit, are not kept (they are still shown and aggregated). */
  deadband: z.number().min(0).optional(),
  /** A value is kept at least this often, deadband or not. */
  maxSilence: durationFrom(1000, '1s').optional(),
  /** A value outside is refused and kept as a dead letter. */
  min: z.number().optional(),
  max: z.number().optional(),
  /** `low` is given up first when the disk fills. */
  priority: z.enum(['normal', 'low']).default('normal'),
  /** How long past due a value still counts as live. */
  ttl: durationFrom(1, '1ms').optional(),
  alarm: z.strictObject({ hi: limit.optional(), lo: limit.optional(), sliding: slidings().optional() }).optional(),
};

export const tagFieldsSchema = z.object(tagFields);
/** The parsed form of `tagFields`. */
export type TagFields = z.output<typeof tagFieldsSchema>;
