import { SluiceError } from '../errors.ts';

const AGO = /^(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)$/;
const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `2026-01-31T10:00:00Z`, `2026-01-31 10:00` (local time), or how long ago: `15min`. @throws usage.time */
export function moment(text: string, nowMs: number): number {
  const ago = AGO.exec(text.trim());
  if (ago !== null) return nowMs - Number(ago[1]) * (UNIT_MS[ago[2] ?? ''] ?? Number.NaN);
  const ms = Date.parse(text);
  if (Number.isFinite(ms)) return ms;
  throw new SluiceError('usage.time', 'stop', `${text} is no time`, {
    hint: 'an ISO time such as 2026-01-31T10:00:00Z, or how long ago, such as 15min',
  });
}
