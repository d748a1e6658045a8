/**
 * Every error that crosses a module border. Callers branch on `code` and `recovery`, never on a message's text.
 * An error is either returned (thrown) or logged, by whoever decides what happens next; never both.
 */

/** What the one who catches it should do: try the same again, give up on this item, or stop the part. */
export type Recovery = 'retry' | 'discard' | 'stop';

export interface ErrorDetails {
  /** What to do next, as a sentence for the person at 3 a.m. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Facts for the log, small and free of secrets. */
  readonly facts?: Readonly<Record<string, string | number | boolean>>;
}

export class SluiceError extends Error {
  override readonly name = 'SluiceError';
  /** Stable, dotted, lower case: `modbus.timeout`, `config.invalid`. */
  readonly code: string;
  readonly recovery: Recovery;
  readonly hint: string | undefined;
  readonly facts: Readonly<Record<string, string | number | boolean>>;

  constructor(code: string, recovery: Recovery, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.recovery = recovery;
    this.hint = details.hint;
    this.facts = details.facts ?? {};
  }
}

/** By its name, not `instanceof`: errors also come from other threads and realms. */
export function isSluiceError(error: unknown): error is SluiceError {
  return error instanceof Error && error.name === 'SluiceError';
}

/** Anything thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** The stable code of anything thrown: ours, or Node's `error.code` (ECONNREFUSED), or `unknown`. */
export function codeOf(thrown: unknown): string {
  const code = (thrown as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : 'unknown';
}

/** Message and chain of causes on one line, for status tables and alarms. */
export function describe(thrown: unknown): string {
  const error = asError(thrown);
  const text = error.message || codeOf(error);
  return error.cause === undefined ? text : `${text}: ${describe(error.cause)}`;
}
