/**
 * A source, or one unit behind it, that gives nothing is an alarm of its own. It is raised when the fault has lasted for a
 * moment, so that one lost connection in the night wakes nobody, and clears at once.
 */
import type { Clock, Timer } from '../runtime/clock.ts';
import type { AlarmBook } from './alarm-book.ts';

/** Longer than two reconnects and one breaker trip take. */
const FAULT_DELAY_MS = 10_000;

/** What the pipeline needs to know of a source's state (`SourceState` of the runner is one). */
export interface SourceHealth {
  readonly source: string;
  readonly state: 'connecting' | 'up' | 'degraded' | 'down';
  readonly error?: { readonly message: string } | undefined;
  readonly units: readonly {
    readonly unit: string;
    readonly state: 'up' | 'down' | 'unknown';
    readonly error?: { readonly message: string } | undefined;
  }[];
}

export class SourceAlarms {
  readonly #book: AlarmBook;
  readonly #clock: Clock;
  /** By alarm id: what waits for its delay, with the text to raise it with. */
  readonly #waiting = new Map<string, { timer: Timer; text: string }>();

  constructor(book: AlarmBook, clock: Clock) {
    this.#book = book;
    this.#clock = clock;
  }

  update({ source, state, error, units }: SourceHealth): void {
    // Neither dead nor alive: what the last process left active stays until something is known.
    if (state === 'connecting') return;
    const isDown = state === 'down';
    this.#set(`${source}:fault`, source, isDown, `${source} is down: ${error?.message ?? 'no connection'}`, source);
    for (const { unit, state: unitState, error: unitError } of units) {
      const id = `${source}:fault:${unit}`;
      // A dead connection is one alarm, not one more for each unit behind it; nor does it prove that a unit is well.
      if (isDown) this.#forget(id);
      else
        this.#set(
          id,
          source,
          unitState === 'down',
          `${source}, ${unit} does not answer: ${unitError?.message ?? 'no reply'}`,
          `${source}, ${unit}`,
        );
    }
  }

  stop(): void {
    for (const { timer } of this.#waiting.values()) timer.cancel();
    this.#waiting.clear();
  }

  #set(id: string, source: string, isFaulty: boolean, text: string, who: string): void {
    const waiting = this.#waiting.get(id);
    if (!isFaulty) {
      this.#forget(id);
      this.#book.clear(id, { at: this.#clock.wallMs(), text: `${who} answers again` });
    } else if (waiting !== undefined) waiting.text = text;
    else if (!this.#book.isActive(id)) {
      this.#waiting.set(id, { timer: this.#clock.after(FAULT_DELAY_MS, () => this.#raise(id, source)), text });
    }
  }

  #forget(id: string): void {
    this.#waiting.get(id)?.timer.cancel();
    this.#waiting.delete(id);
  }

  #raise(id: string, source: string): void {
    const text = this.#waiting.get(id)?.text ?? '';
    this.#waiting.delete(id);
    this.#book.raise(id, { source }, 'fault', { at: this.#clock.wallMs(), text });
  }
}
