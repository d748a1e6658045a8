/** Readings, latest values, windows and digests. */
import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { SluiceError } from '../../errors.ts';
import type { Catalog } from '../catalog.ts';
import type { DeviceList } from '../devices.ts';
import { type NamedTag, TagNames, type TagPattern } from '../tag-names.ts';
import type { Tier, TierReading } from '../tier.ts';
import type { Api, Asked } from './api.ts';
import {
  type Format,
  isoTime,
  LATEST_COLUMNS,
  READING_COLUMNS,
  sendAnswer,
  shownReading,
  shownValue,
  WINDOW_COLUMNS,
} from './formats.ts';
import * as params from './params.ts';

export interface ReadingParts {
  readonly catalog: Catalog;
  readonly devices: DeviceList;
  readonly tier: Tier;
  readonly nowMs: () => number;
}

/** Tags of one query of readings: `*` of a large gateway would otherwise read everything there is. */
export const TAGS_MAX = 1000;

export class ReadingRoutes {
  readonly #parts: ReadingParts;
  readonly #names: TagNames;

  constructor(parts: ReadingParts) {
    this.#parts = parts;
    this.#names = new TagNames(parts.catalog, parts.devices);
  }

  register(api: Api): void {
    api.route('GET', '/v1/readings', 'reader', (asked) => this.#readings(asked));
    api.route('GET', '/v1/latest', 'reader', (asked) => this.#latest(asked));
    api.route('GET', '/v1/windows', 'reader', (asked) => this.#windows(asked));
    api.route('GET', '/v1/digest', 'reader', (asked) => this.#digest(asked));
  }

  async #readings({ request, reply, signal }: Asked): Promise<unknown> {
    const query = params.parseQuery(params.readingsQuery, request.query);
    const span = params.spanOf({ from: query.from, to: query.cursor ?? query.to }, this.#parts.nowMs());
    const tags = fewTags(this.#names, query);
    const rows = rowsOf(tags);
    const keys = rows.map(({ key }) => key);
    const found = await this.#parts.tier.range(keys, span, query.limit, signal);
    const lines = found.readings.map(({ key, ...reading }) => ({ ...rows[key]?.identity, ...shownReading(reading) }));
    // What is older goes on, exclusively, at the time of the first.
    const next = found.truncated ? String(lines[0]?.timeMs ?? span.fromMs) : null;
    linkNext(reply, request.url, next);
    const { fromMs, toMs } = span;
    const facts = {
      tags: tags.map(describeTag),
      from: isoTime(fromMs),
      to: isoTime(toMs),
      truncated: found.truncated,
      next,
    };
    return sendAnswer(reply, query.format, { key: 'readings', columns: READING_COLUMNS, lines, facts });
  }

  async #latest({ request, reply }: Asked): Promise<unknown> {
    const query = params.parseQuery(params.latestQuery, request.query);
    const { tags, next } = this.#names.matching(query, query.limit, query.cursor);
    const found = await this.#parts.tier.latest(tags.flatMap(({ rows }) => rows));
    const nowMs = this.#parts.nowMs();
    let at = 0;
    const latest = tags.flatMap((tag) => {
      const newest = newestOf(found.slice(at, at + tag.rows.length));
      at += tag.rows.length;
      // How old a value may be is the box's to know: here it is said how old it is.
      return newest === undefined
        ? []
        : [{ ...describeTag(tag), ...shownReading(newest), ageMs: nowMs - newest.timeMs }];
    });
    linkNext(reply, request.url, next === null ? null : String(next));
    if (isKnown(request.headers['if-none-match'], etagOf(latest, query.format), reply)) return reply.code(304).send();
    const facts = { truncated: next !== null, next };
    // A type and a unit for each: there is one line a tag.
    if (query.format === 'json') return { ...facts, latest };
    return sendAnswer(reply, query.format, { key: 'latest', columns: LATEST_COLUMNS, lines: latest, facts });
  }

  async #windows({ request, reply, signal }: Asked): Promise<unknown> {
    const query = params.parseQuery(params.windowsQuery, request.query);
    const span = params.spanOf(query, this.#parts.nowMs());
    const tags = fewTags(this.#names, query);
    // One of the two is there: the schema sees to it.
    const periodMs = query.period ?? params.periodFor(span, query.points ?? 1);
    const { fromMs, toMs, count } = params.windowsOver(span, periodMs);
    if (count * tags.length > params.WINDOWS_MAX) {
      throw new SluiceError('query.invalid', 'discard', `more than ${params.WINDOWS_MAX} windows`, {
        hint: 'Ask for a longer period, a shorter time, or fewer tags.',
      });
    }
    const found = await this.#parts.tier.windows(
      tags.map(({ rows }) => rows),
      { fromMs, toMs },
      periodMs,
      signal,
    );
    const lines = found.flatMap((windows, i) =>
      windows.map(({ startMs, min, max, first, last, ...counts }) => ({
        ...identityOf(tags[i]),
        start: isoTime(startMs),
        startMs,
        ...counts,
        min: shownValue(min),
        max: shownValue(max),
        first: shownValue(first),
        last: shownValue(last),
      })),
    );
    const facts = { tags: tags.map(describeTag), from: isoTime(fromMs), to: isoTime(toMs), periodMs };
    return sendAnswer(reply, query.format, { key: 'windows', columns: WINDOW_COLUMNS, lines, facts });
  }

  async #digest({ request, signal }: Asked): Promise<unknown> {
    const { catalog, tier } = this.#parts;
    const { gateway } = params.parseQuery(params.digestQuery, request.query);
    const device = this.#names.device(gateway);
    const digests = await tier.digest(device, catalog.namesOf(device), signal);
    return { gateway, tags: Object.fromEntries(digests) };
  }
}

/** @throws query.invalid for more than `TAGS_MAX`, query.not_found */
export function fewTags(names: TagNames, pattern: TagPattern): readonly NamedTag[] {
  const { tags, next } = names.matching(pattern, TAGS_MAX);
  if (next === null) return tags;
  throw new SluiceError('query.invalid', 'discard', `more than ${TAGS_MAX} tags match`, { hint: 'Ask for fewer.' });
}

/** Each content that a tag ever had is a row of its own to the tier. */
export function rowsOf(tags: readonly NamedTag[]) {
  return tags.flatMap((tag) =>
    tag.rows.map(({ device, tag: id }) => ({ identity: identityOf(tag), key: { device, tag: id } })),
  );
}

export function describeTag({ gateway, name, definition }: NamedTag) {
  return { gateway, tag: name, type: definition?.type ?? null, unit: definition?.unit ?? null };
}

function identityOf(tag: NamedTag | undefined) {
  return { gateway: tag?.gateway ?? '', tag: tag?.name ?? '', unit: tag?.definition?.unit ?? null };
}

function newestOf(readings: readonly (TierReading | undefined)[]): TierReading | undefined {
  let newest: TierReading | undefined;
  for (const reading of readings) {
    if (reading !== undefined && (newest === undefined || reading.timeMs >= newest.timeMs)) newest = reading;
  }
  return newest;
}

/** RFC 8288, for the formats whose lines have no room for it. */
function linkNext(reply: FastifyReply, url: string, next: string | null): void {
  if (next === null) return;
  const [path = '', search] = url.split('?', 2);
  const query = new URLSearchParams(search);
  query.set('cursor', next);
  reply.header('link', `<${path}?${query}>; rel="next"`);
}

/** Weak: `ageMs` goes on all the time, and is no news. */
function etagOf(latest: readonly { readonly ageMs: number }[], format: Format): string {
  const facts = latest.map(({ ageMs: _ageMs, ...reading }) => reading);
  return `W/"${createHash('sha256').update(format).update(JSON.stringify(facts)).digest('base64url').slice(0, 22)}"`;
}

function isKnown(ifNoneMatch: string | undefined, etag: string, reply: FastifyReply): boolean {
  reply.header('etag', etag);
  return ifNoneMatch?.split(',').some((known) => known.trim() === etag) === true;
}
