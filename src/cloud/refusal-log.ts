/**
 * Refusals in the log: enough to find the gateway that is not listed, not enough for whoever wants to fill the disk. Of each
 * code one line in ten seconds, which says how many were left out; the metrics count all.
 */
import type { Logger } from 'pino';
import type { Clock } from '../runtime/clock.ts';

const QUIET_MS = 10_000;

export class RefusalLog {
  readonly #logger: Pick<Logger, 'warn'>;
  readonly #clock: Pick<Clock, 'monoMs'>;
  /** By code, of which there are few. */
  readonly #seen = new Map<string, { untilMs: number; leftOut: number }>();

  constructor(logger: Pick<Logger, 'warn'>, clock: Pick<Clock, 'monoMs'>) {
    this.#logger = logger;
    this.#clock = clock;
  }

  refused(code: string, facts: object): void {
    const nowMs = this.#clock.monoMs();
    const seen = this.#seen.get(code);
    if (seen !== undefined && nowMs < seen.untilMs) {
      seen.leftOut++;
      return;
    }
    this.#logger.warn({ code, ...facts, leftOut: seen?.leftOut ?? 0 }, 'message refused');
    this.#seen.set(code, { untilMs: nowMs + QUIET_MS, leftOut: 0 });
  }
}
