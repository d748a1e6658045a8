/**
 * What to do after one attempt to send a batch: the answer table, pure. Two rules stand over it: rows are marked
 * delivered, or written off, only under an answer the cloud signed for these very bytes; and whatever is not understood
 * costs time, never data.
 */
import { fullJitterMs } from './backoff.ts';

/** What came of one attempt. `refused`, `dictionaryUnknown` and `acknowledged` are signed for these very bytes. */
export type Outcome =
  | { readonly kind: 'acknowledged' }
  /** A signed code about the content of this batch. */
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'dictionaryUnknown' }
  /** Sealed to, or signed by, a key that was good when it was cut; there are newer ones. */
  | { readonly kind: 'keysChanged' }
  | { readonly kind: 'tooLarge'; readonly signed: boolean }
  /** Nothing usable came back; the same bytes may well pass later. */
  | {
      readonly kind: 'failed';
      readonly cause: FailureCause;
      readonly text: string;
      readonly retryAfterMs: number | undefined;
    }
  /** Someone said no to us as a whole: keys, device, certificate, a proxy. Waiting alone will not heal it. */
  | {
      readonly kind: 'denied';
      readonly code: string;
      /** Something on the way may dislike just these bytes; keys, certificates and signed codes it cannot be. */
      readonly perhapsBytes: boolean;
      readonly text: string;
      readonly hint: string;
    };

export type FailureCause = 'network' | 'timeout' | 'status' | 'unsigned' | 'foreign';

/** What is remembered of a batch over its attempts. */
export interface History {
  /** It cannot be halved any further. */
  readonly smallest: boolean;
  /** Readings and aggregates in it; control and alarm rows are never written off. */
  readonly refusable: number;
  /** Attempts with these bytes that brought nothing usable. */
  readonly failures: number;
  /** How many batches had passed, of any lane, when others were first let go before it. */
  readonly asideAtPass: number | undefined;
  readonly refusals: number;
  /** How many batches of its suite and codec had passed at its first refusal. */
  readonly refusedAtPass: number | undefined;
  /** How many refusals there had been, of batches of its suite and codec, its own first one included. */
  readonly refusedAtRefusal: number | undefined;
  /** How often the cloud did not know the dictionary, over all batches since the last one that passed. */
  readonly dictionaryMisses: number;
}

/** What happened to all batches so far; `alike` are those of the suite and codec of the batch in question. */
export interface Passes {
  readonly any: number;
  readonly alike: number;
  /** Signed refusals of batches alike, this attempt included. */
  readonly refusals: number;
}

export type Action =
  | { readonly do: 'deliver' }
  /** The same bytes again; `aside`: others go first. */
  | { readonly do: 'again'; readonly afterMs: number; readonly aside: boolean }
  | { readonly do: 'split' }
  | { readonly do: 'writeOff'; readonly reason: string }
  /** Kept, tried rarely, with an alarm; the rest flows. */
  | { readonly do: 'park'; readonly afterMs: number; readonly reason: string }
  /** Sealed anew with the full dictionary. */
  | { readonly do: 'reseal' }
  /** Sealed anew, with the keys of now. */
  | { readonly do: 'recut' };

/** What the attempt says about the cloud as a whole; the breaker acts on it. */
export type CloudNews =
  | { readonly state: 'passed' }
  /** It answered, though not with yes. */
  | { readonly state: 'alive' }
  | { readonly state: 'failed'; readonly text: string; readonly pauseMs: number | undefined }
  | { readonly state: 'held'; readonly reason: string; readonly text: string; readonly hint: string };

export interface Decision {
  readonly action: Action;
  readonly cloud: CloudNews;
}

/** After so many failures of the same bytes the fault may be in the bytes: others go first. */
export const FAILURES_ASIDE = 3;
/** A signed refusal may be a mishap of one moment; three are not. */
export const REFUSALS_MAX = 3;
/** A single row that was refused so often, while nothing else was there to compare it with, is worth an alarm. */
export const REFUSALS_ALONE_MAX = 8;
/** More than this in a row is no lost dictionary, but a cloud that contradicts itself. */
export const DICTIONARY_MISSES_MAX = 3;
/** A parked row is tried again this often: whoever repaired the far side should not have to restart the box. */
export const PARK_MS = 3_600_000;
/** The cloud has answered, so the next try needs no long wait: just not at once, and not all boxes together. */
const REFUSED_AGAIN_MS_FIRST = 250;
const REFUSED_AGAIN_MS_LONGEST = 1000;

export function firstHistory(batch: { smallest: boolean; refusable: number }, dictionaryMisses = 0): History {
  return {
    ...batch,
    failures: 0,
    asideAtPass: undefined,
    refusals: 0,
    refusedAtPass: undefined,
    refusedAtRefusal: undefined,
    dictionaryMisses,
  };
}

/** A half of a batch that kept failing is under suspicion from the start: one failure sets it aside. */
export function halfHistory(parent: History, half: { smallest: boolean; refusable: number }): History {
  return { ...firstHistory(half, parent.dictionaryMisses), failures: Math.min(parent.failures, FAILURES_ASIDE - 1) };
}

/** The history with this attempt in it. */
export function noted(history: History, outcome: Outcome, passes: Passes): History {
  switch (outcome.kind) {
    case 'failed':
    case 'denied': {
      if (outcome.kind === 'denied' && !outcome.perhapsBytes) return history;
      const failures = history.failures + 1;
      const asideAtPass = history.asideAtPass ?? (failures >= FAILURES_ASIDE ? passes.any : undefined);
      return { ...history, failures, asideAtPass };
    }
    case 'refused':
      return {
        ...history,
        refusals: history.refusals + 1,
        refusedAtPass: history.refusedAtPass ?? passes.alike,
        refusedAtRefusal: history.refusedAtRefusal ?? passes.refusals,
      };
    case 'dictionaryUnknown':
      return { ...history, dictionaryMisses: history.dictionaryMisses + 1 };
    default:
      return history;
  }
}

/**
 * @param history with this attempt in it, see `noted`
 * @param random in [0, 1)
 */
export function decide(history: History, outcome: Outcome, passes: Passes, random: number): Decision {
  switch (outcome.kind) {
    case 'acknowledged':
      return { action: { do: 'deliver' }, cloud: { state: 'passed' } };
    case 'failed':
      return { action: afterFailure(history, passes, random, outcome), cloud: failedNews(outcome) };
    case 'denied': {
      const cloud = { state: 'held', reason: outcome.code, text: outcome.text, hint: outcome.hint } as const;
      // The breaker holds everything back and chooses what is tried, so the batch itself need not wait.
      const action = suspect(history, passes) && outcome.perhapsBytes ? smaller(history, outcome.code) : again(0, true);
      return { action, cloud };
    }
    case 'tooLarge':
      return tooLarge(history, outcome.signed);
    case 'keysChanged':
      return { action: { do: 'recut' }, cloud: { state: 'alive' } };
    case 'dictionaryUnknown':
      if (history.dictionaryMisses <= DICTIONARY_MISSES_MAX)
        return { action: { do: 'reseal' }, cloud: { state: 'alive' } };
      return {
        action: { do: 'reseal' },
        cloud: {
          state: 'held',
          reason: 'dictionary_unknown',
          text: 'the cloud keeps refusing the full tag dictionary',
          hint: 'the receiver and this gateway disagree about the protocol: compare their versions',
        },
      };
    case 'refused':
      return refused(history, outcome.code, passes, random);
  }
}

/** These bytes have failed alone while others passed: before and after, they were tried and failed. */
function suspect(history: History, passes: Passes): boolean {
  return history.failures > FAILURES_ASIDE - 1 && history.asideAtPass !== undefined && passes.any > history.asideAtPass;
}

function afterFailure(
  history: History,
  passes: Passes,
  random: number,
  outcome: { cause: FailureCause; retryAfterMs: number | undefined },
): Action {
  // A server that names its time is not choking on these bytes.
  if (outcome.retryAfterMs === undefined && suspect(history, passes)) return smaller(history, outcome.cause);
  const afterMs = Math.max(outcome.retryAfterMs ?? 0, fullJitterMs(history.failures, random));
  return again(afterMs, history.failures >= FAILURES_ASIDE);
}

function failedNews(outcome: { text: string; retryAfterMs: number | undefined }): CloudNews {
  return { state: 'failed', text: outcome.text, pauseMs: outcome.retryAfterMs };
}

/** Halving destroys nothing, so it needs no proof. What cannot be halved is parked, never written off. */
function smaller(history: History, reason: string): Action {
  return history.smallest ? { do: 'park', afterMs: PARK_MS, reason } : { do: 'split' };
}

function tooLarge(history: History, signed: boolean): Decision {
  const cloud = { state: 'alive' } as const;
  if (!history.smallest) return { action: { do: 'split' }, cloud };
  if (signed && history.refusable > 0) return { action: { do: 'writeOff', reason: 'too_large' }, cloud };
  return { action: { do: 'park', afterMs: PARK_MS, reason: 'too_large' }, cloud };
}

function refused(history: History, code: string, passes: Passes, random: number): Decision {
  const cloud = { state: 'alive' } as const;
  if (history.refusals < REFUSALS_MAX) {
    const afterMs = fullJitterMs(history.refusals, random, REFUSED_AGAIN_MS_FIRST, REFUSED_AGAIN_MS_LONGEST);
    return { action: again(afterMs, true), cloud };
  }
  if (!history.smallest) return { action: { do: 'split' }, cloud };
  if (history.refusable === 0) return { action: { do: 'park', afterMs: PARK_MS, reason: code }, cloud };
  if (passes.alike > (history.refusedAtPass ?? passes.alike))
    return { action: { do: 'writeOff', reason: code }, cloud };
  if (!othersRefused(history, passes) && history.refusals < REFUSALS_ALONE_MAX) {
    // Nothing to compare it with yet: let others go, rather than hold them for the fault of one row.
    return { action: again(fullJitterMs(history.refusals - REFUSALS_MAX + 1, random), true), cloud };
  }
  return {
    action: again(0, true),
    cloud: {
      state: 'held',
      reason: 'everything_refused',
      text: `the cloud refuses what is sent (${code}) and nothing else has passed since`,
      hint: 'nothing is written off while no batch passes; look at the receiver: its log names the code',
    },
  };
}

/** Whether other batches were refused since its own first refusal. */
function othersRefused(history: History, passes: Passes): boolean {
  const since = passes.refusals - (history.refusedAtRefusal ?? passes.refusals);
  return since > history.refusals - 1;
}

function again(afterMs: number, aside: boolean): Action {
  return { do: 'again', afterMs, aside };
}

/** For the status table; undefined when all is well. */
export function errorText(outcome: Outcome): string | undefined {
  switch (outcome.kind) {
    case 'acknowledged':
      return undefined;
    case 'failed':
    case 'denied':
      return outcome.text;
    case 'refused':
      return `refused by the cloud: ${outcome.code}`;
    case 'tooLarge':
      return outcome.signed ? 'too large for the cloud' : 'too large for something on the way';
    case 'dictionaryUnknown':
      return 'the cloud does not know the tag dictionary';
    case 'keysChanged':
      return 'sealed before keys changed; sealed anew';
  }
}
