/**
 * A tier that hands readings on: `POST <url>` with NDJSON, a line a reading, for a data platform. At least once: a line names its
 * origin (gateway, run, class, n), which tells a repeated one. What answers 2xx has it.
 */
import { SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { rowNumbers } from '../wire/block.ts';
import { CLASSES } from '../wire/classes.ts';
import { parseTagContent } from '../wire/tag.ts';
import { CONTENT_TYPES, type Line, ndjson, shownReading } from './api/formats.ts';
import { decode } from './block-readings.ts';
import { columnValues } from './columns-reader.ts';
import type { DeviceList } from './devices.ts';
import type { OuterTier } from './feed.ts';
import type { Store } from './store.ts';

export interface ForwardOptions {
  readonly url: string;
  readonly token?: string | undefined;
}

type Parts = Pick<Store, 'tier' | 'catalog' | 'db'> & { readonly devices: DeviceList; readonly clock: Clock };

/** Of one request: about 2 MB. */
const LINES_MAX = 10_000;
const DEADLINE_MS = 60_000;

export function forwardTier({ url, token }: ForwardOptions, parts: Parts): OuterTier {
  const headers = {
    'content-type': CONTENT_TYPES.ndjson,
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  };
  return {
    name: `forward ${url}`,
    async take(block, signal) {
      const lines = linesOf(block, parts);
      for (let at = 0; at < lines.length; at += LINES_MAX) {
        const key = { ...headers, 'idempotency-key': `${block}.${at / LINES_MAX}` };
        await post(url, key, ndjson(lines.slice(at, at + LINES_MAX)), parts.clock, signal);
      }
    },
  };
}

async function post(url: string, headers: Record<string, string>, body: string, clock: Clock, signal: AbortSignal) {
  const late = new AbortController();
  const timer = clock.after(DEADLINE_MS, () => late.abort(refused(`no answer within ${DEADLINE_MS} ms`)));
  try {
    const answer = await fetch(url, {
      ...{ method: 'POST', headers, body, redirect: 'error' },
      signal: AbortSignal.any([signal, late.signal]),
    });
    await answer.body?.cancel();
    if (!answer.ok) throw refused(`it answers ${answer.status}`);
  } finally {
    timer.cancel();
  }
}

function linesOf(id: number, { tier, catalog, db, devices }: Parts): Line[] {
  const block = tier.blocks.get(id);
  const from = db
    .prepare<[number], { device: string; run: string }>(
      'SELECT device.device, run.run FROM block JOIN device ON device.id = block.device JOIN run ON run.id = block.run WHERE block.id = ?',
    )
    .get(id);
  // Forgotten, or past its time, since it was looked for.
  if (block === undefined || from === undefined) return [];
  const columns = decode(block);
  const numbers = rowNumbers(columns);
  const valueAt = columnValues(columns);
  const gateway = devices.nameOf(from.device);
  const tags = new Map(catalog.tags(0, Number.MAX_SAFE_INTEGER, from.device).map((tag) => [tag.id, tag]));
  const lines: Line[] = [];
  let row = 0;
  for (const [position, { kind, counts }] of columns.tags.entries()) {
    const known = tags.get(block.tags[position] ?? 0);
    const unit = known?.content == null ? null : (parseTagContent(known.content).unit ?? null);
    const identity = { gateway, tag: known?.name ?? known?.tag ?? '', unit };
    const origin = { run: from.run, class: CLASSES[block.class] ?? '' };
    for (const end = row + counts.reduce((sum, count) => sum + count, 0); row < end; row++) {
      const timeMs = (columns.timeMs[row] ?? 0) + block.shiftMs;
      const reading = shownReading({ timeMs, value: valueAt(row, kind), quality: columns.quality[row] ?? 0 });
      lines.push({ ...identity, ...reading, ...origin, n: numbers[row] ?? 0 });
    }
  }
  return lines;
}

function refused(message: string): SluiceError {
  return new SluiceError('tier.refused', 'retry', message);
}
