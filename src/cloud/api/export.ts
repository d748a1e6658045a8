/**
 * `/v1/export`: every reading of a span in order of time, streamed. However long the span, a part of some 20,000 readings is in
 * memory, and the next one is read when the client has taken the last. It ends in order or not at all: a connection that ends without
 * the last chunk is an export that was cut off.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { TagNames } from '../tag-names.ts';
import type { Tier } from '../tier.ts';
import type { Api, Asked } from './api.ts';
import { asSeries, CONTENT_TYPES, csv, csvHead, type Line, ndjson, READING_COLUMNS, shownReading } from './formats.ts';
import * as params from './params.ts';
import { fewTags, type ReadingParts, rowsOf } from './readings.ts';

type StreamFormat = 'ndjson' | 'csv' | 'columns';

export function registerExport(api: Api, parts: ReadingParts): void {
  const names = new TagNames(parts.catalog, parts.devices);
  api.route('GET', '/v1/export', 'reader', (asked) => sendExport(asked, parts.tier, names, parts.nowMs()));
}

async function sendExport(asked: Asked, tier: Tier, names: TagNames, nowMs: number): Promise<void> {
  const { request, reply, signal, again } = asked;
  const query = params.parseQuery(params.exportQuery, request.query);
  const span = params.spanOf(query, nowMs);
  const rows = rowsOf(fewTags(names, query));
  const keys = rows.map(({ key }) => key);
  const parts = tier.scan(keys, span, signal)[Symbol.asyncIterator]();
  // The first part before the head: what goes wrong until then has a status of its own.
  let part = await parts.next();
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, {
    'content-type': query.format === 'columns' ? CONTENT_TYPES.ndjson : CONTENT_TYPES[query.format],
  });
  if (query.format === 'csv') raw.write(csvHead(READING_COLUMNS));
  for (; part.done !== true; part = await parts.next()) {
    const lines = part.value.map(({ key, ...reading }) => ({ ...rows[key]?.identity, ...shownReading(reading) }));
    again();
    await written(raw, textOf(query.format, lines), signal);
  }
  raw.end();
}

function textOf(format: StreamFormat, lines: readonly Line[]): string {
  if (format === 'ndjson') return ndjson(lines);
  if (format === 'csv') return csv(READING_COLUMNS, lines);
  return `${JSON.stringify({ series: asSeries(READING_COLUMNS, lines) })}\n`;
}

/** @throws the signal's reason when the client does not read */
async function written(raw: ServerResponse, text: string, signal: AbortSignal): Promise<void> {
  if (raw.write(text)) return;
  await once(raw, 'drain', { signal });
}
