/** Topics and what they carry: `sluice/<gateway>/<source>/<tag>` and its neighbours. */
import { jsonValue, type PlainValue, reasonOf, shortest, statusOf, type ValueType } from '../reading.ts';

export class Topics {
  readonly root: string;
  constructor(gateway: string) {
    this.root = `sluice/${gateway}`;
  }
  get state(): string {
    return `${this.root}/$state`;
  }
  get commands(): string {
    return `${this.root}/$cmd/`;
  }
  /** @param name `source/tag`. */
  tag(name: string): string {
    return `${this.root}/${name}`;
  }
  window(name: string, periodLabel: string): string {
    return `${this.root}/${name}/${periodLabel}`;
  }
  source(name: string): string {
    return `${this.root}/$sources/${name}`;
  }
  alarm(id: string): string {
    // An id comes from names, which hold none of these; were it otherwise, a client would take offence.
    return `${this.root}/$alarms/${id.replace(/[+#\0]/g, '_')}`;
  }
  replies(clientId: string): string {
    return `${this.root}/$reply/${clientId}`;
  }
}

/** What is said of a tag that never had a reading. */
export const NOT_AVAILABLE = { v: null, t: null, q: 'bad', r: 'not_available' } as const;

/** The largest time that a Date can hold (ECMA-262, section 21.4.1.1). */
export const DATE_MS_MAX = 8.64e15;

/**
 * `{"v":21.5,"t":"2026-01-31T10:00:00.123Z","q":"good","u":"°C"}`; 64-bit integers are strings, a bad reading is null. A float32
 * is the shortest number that reads back as it: people look at it.
 */
export function readingFields(
  value: PlainValue,
  timeMs: number,
  quality: number,
  about: { readonly type?: ValueType; readonly unit?: string } | undefined,
): object {
  const reason = reasonOf(quality);
  return {
    v: jsonValue(typeof value === 'number' ? shortest(value, about?.type) : value),
    t: isoTime(timeMs),
    q: statusOf(quality),
    ...(reason === '' ? {} : { r: reason }),
    ...(about?.unit === undefined ? {} : { u: about.unit }),
  };
}

export function isoTime(timeMs: number): string | null {
  return Math.abs(timeMs) <= DATE_MS_MAX ? new Date(timeMs).toISOString() : null;
}

/** JSON of what other parts tell about themselves, 64-bit integers as strings here too. */
export function stateJson(state: object): string {
  return JSON.stringify(state, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value));
}
