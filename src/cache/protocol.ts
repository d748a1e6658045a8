/** What goes between the main thread and the cache's worker. Errors cross as facts: an error of another thread is no instance of ours. */

import type { CacheConfig } from '../config/cache.ts';
import { asError, codeOf, isSluiceError, type Recovery, SluiceError } from '../errors.ts';
import type { RecountReport } from './account.ts';
import type { AtRestKeys } from './at-rest.ts';
import type { CacheCore } from './core.ts';
import type { ForgetDone } from './forget/forgetting.ts';
import type { DamageNote } from './recover/notes.ts';
import type { TargetConfig } from './targets.ts';
import type { Append, CacheTag, ClosedWindows, LadderState } from './types.ts';

export interface WorkerOptions {
  readonly config: CacheConfig;
  readonly targets: readonly TargetConfig[];
  /** Of encryption at rest. */
  readonly keys: AtRestKeys;
  /** `formatDeviceKey` text. */
  readonly device: string | undefined;
  readonly version: string;
  readonly reason: string;
}

export const CALLS = [
  'receipts',
  'saveHot',
  'loadHot',
  'lastWindows',
  'cut',
  'acknowledge',
  'release',
  'refuse',
  'helloRuns',
  'hello',
  'setRecipient',
  'forgetDictionary',
  'alarms',
  'backlog',
  'stats',
] as const satisfies readonly (keyof CacheCore)[];
export type Call = (typeof CALLS)[number];
export type CallArguments<C extends Call> = Parameters<CacheCore[C]>;
export type CallResult<C extends Call> = ReturnType<CacheCore[C]>;

export type ToWorker =
  | { readonly type: 'tag'; readonly tag: CacheTag }
  /** `seq` is the number of the last of these appends, counted from 1. */
  | {
      readonly type: 'append';
      readonly seq: number;
      readonly appends: readonly Append[];
      readonly hurry: boolean;
      /** All that was handed over and is not committed, these appends included. */
      readonly uncommittedBytes: number;
    }
  | { readonly type: 'hurry' }
  /** Nobody here has values any more of what this request forgot. */
  | { readonly type: 'heard'; readonly request: string }
  | { readonly type: 'watchWindows' }
  | { readonly type: 'call'; readonly id: number; readonly call: Call; readonly args: readonly unknown[] }
  | { readonly type: 'close'; readonly id: number };

/** What `close` is answered with: whether all is on disk, and how many readings are not. */
export interface Closed {
  readonly done: boolean;
  readonly readings: number;
}

export type FromWorker =
  | {
      readonly type: 'ready';
      readonly run: Uint8Array;
      readonly boot: Uint8Array;
      readonly damage: readonly DamageNote[];
      readonly account: RecountReport | undefined;
    }
  | { readonly type: 'committed'; readonly seq: number }
  | { readonly type: 'forgotten'; readonly done: ForgetDone }
  | { readonly type: 'windows'; readonly windows: readonly ClosedWindows[] }
  | { readonly type: 'ladder'; readonly state: LadderState }
  /** Found while it runs. */
  | { readonly type: 'damage'; readonly note: DamageNote }
  | { readonly type: 'result'; readonly id: number; readonly value: unknown }
  | { readonly type: 'error'; readonly id: number; readonly error: ErrorFacts }
  /** The last message: nothing will be committed any more. */
  | { readonly type: 'failed'; readonly error: ErrorFacts };

export interface ErrorFacts {
  readonly code: string;
  readonly recovery: Recovery;
  readonly message: string;
  readonly hint: string | undefined;
  readonly facts: Readonly<Record<string, string | number | boolean>>;
  readonly stack: string | undefined;
}

export function errorFacts(thrown: unknown): ErrorFacts {
  const { message, stack } = asError(thrown);
  if (!isSluiceError(thrown))
    return { code: codeOf(thrown), recovery: 'stop', message, hint: undefined, facts: {}, stack };
  const { code, recovery, hint, facts } = thrown;
  const cause = thrown.cause === undefined ? '' : `: ${asError(thrown.cause).message}`;
  return { code, recovery, message: `${message}${cause}`, hint, facts, stack };
}

export function fromFacts({ code, recovery, message, hint, facts, stack }: ErrorFacts): SluiceError {
  const error = new SluiceError(code, recovery, message, { facts, ...(hint === undefined ? {} : { hint }) });
  if (stack !== undefined) error.stack = stack;
  return error;
}
