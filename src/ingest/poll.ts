/** Asks one poll session, round after round, until the connection is gone. */
import type { GroupFault, GroupPlan, PollSession } from '../driver.ts';
import { asError, SluiceError } from '../errors.ts';
import { ChunkBuilder } from '../reading.ts';
import type { Clock } from '../runtime/clock.ts';
import type { BadMarks } from './bad-marks.ts';
import type { PipelinePort } from './ports.ts';
import type { ReadThrough } from './read-through.ts';
import type { Schedule } from './schedule.ts';
import type { StateKeeper } from './state.ts';
import type { Units } from './units.ts';

/** A waveform of a minute at 16 kHz; 21 MB. */
const ROWS_MAX = 1_000_000;
/** How long an aborted read may take to notice. */
const ABORT_GRACE_MS = 1_000;

export interface PollRound {
  readonly source: string;
  readonly groups: readonly GroupPlan<unknown>[];
  /** `indexes[g][t]` is the registry index of tag t in group g. */
  readonly indexes: readonly (readonly number[])[];
  readonly readTimeoutMs: number;
  readonly clock: Clock;
  readonly pipeline: PipelinePort;
  readonly schedule: Schedule;
  readonly units: Units;
  readonly state: StateKeeper;
  readonly marks: Pick<BadMarks, 'mark' | 'before'>;
  /** What panels ask for beside the schedule. */
  readonly asked: ReadThrough;
  /** A round came back. */
  readonly onAnswer: () => void;
}

/** Rejects with the cause when the connection is lost, hangs, or `life` is aborted. */
export async function pollUntilLost(session: PollSession, round: PollRound, life: AbortSignal): Promise<never> {
  round.asked.opened(round.schedule);
  try {
    return await poll(session, round, life);
  } finally {
    round.asked.closed();
  }
}

async function poll(session: PollSession, round: PollRound, life: AbortSignal): Promise<never> {
  const { clock, schedule, units, pipeline, state, asked } = round;
  const out = new ChunkBuilder(ROWS_MAX);
  let due: readonly number[] = schedule.takeAll(clock.monoMs());
  for (;;) {
    const admitted = units.admit(due, clock.monoMs());
    due = [];
    if (admitted.length > 0) {
      if (pipeline.pressed()) state.count('skipped', admitted.length);
      else due = await readOnce(session, round, admitted, out, life);
    }
    // A unit that is back is read whole now: its slowest group may be due in an hour.
    if (due.length > 0) continue;
    // While the cache is full a probe would not go out, and must not be asked for without pause.
    const wakeMs = pipeline.pressed() ? schedule.nextMs() : Math.min(schedule.nextMs(), units.probeAtMs());
    await asked.wait(wakeMs, life);
    const next = schedule.take(clock.monoMs(), pipeline.slowdown());
    state.count('skipped', next.skipped);
    const extra = asked.take(next.groups);
    state.count('asked', extra.length);
    due = [...next.groups, ...extra];
  }
}

/** Resolves to the groups that should be read at once, because their unit has come back. */
async function readOnce(
  session: PollSession,
  round: PollRound,
  groups: readonly number[],
  out: ChunkBuilder,
  life: AbortSignal,
): Promise<readonly number[]> {
  const { source, clock, pipeline, schedule, units, state, marks, asked } = round;
  let faults: readonly GroupFault[];
  asked.began(groups);
  try {
    faults = await readWithin(session, groups, out, round, life);
  } finally {
    // What was read before the connection broke is as true as any.
    if (out.length > 0) {
      const chunk = out.take();
      marks.before(chunk);
      pipeline.push(source, chunk);
    }
  }
  asked.ended();
  state.count('reads');
  const nowMs = clock.monoMs();
  if (schedule.nextMs() <= nowMs) state.count('overruns');
  round.onAnswer();
  const back: number[] = [];
  for (const { unit, isDown, error } of units.learn(groups, faults, nowMs)) {
    const ids = units.groupsOf(unit);
    if (isDown) {
      state.unitDown(unit, error);
      marks.mark(ids.flatMap((id) => round.indexes[id] ?? []));
    } else {
      state.unitUp(unit);
      back.push(...ids.filter((id) => !groups.includes(id)));
    }
  }
  return back;
}

/** Rejects when the read takes longer than it may, at the latest a moment after: a driver that ignores the signal stops nobody. */
function readWithin(
  session: PollSession,
  groups: readonly number[],
  out: ChunkBuilder,
  { clock, readTimeoutMs }: PollRound,
  life: AbortSignal,
): Promise<readonly GroupFault[]> {
  return new Promise((resolve, reject) => {
    const controller = new AbortController();
    let grace: { cancel(): void } | undefined;
    const abort = (reason: unknown) => {
      controller.abort(reason);
      grace ??= clock.after(ABORT_GRACE_MS, () => end(() => reject(reason)));
    };
    const onLost = () => abort(life.reason);
    const timer = clock.after(readTimeoutMs, () =>
      abort(
        new SluiceError('ingest.read_timeout', 'retry', `a round of reads took longer than ${readTimeoutMs} ms`, {
          hint: 'if the device is only slow, raise readTimeout of this source or read less often',
        }),
      ),
    );
    const end = (settle: () => void) => {
      timer.cancel();
      grace?.cancel();
      life.removeEventListener('abort', onLost);
      settle();
    };
    life.addEventListener('abort', onLost, { once: true });
    if (life.aborted) onLost();
    session.read(groups, out, controller.signal).then(
      (faults) => end(() => (controller.signal.aborted ? reject(controller.signal.reason) : resolve(faults))),
      (thrown) => end(() => reject(controller.signal.aborted ? controller.signal.reason : asError(thrown))),
    );
  });
}
