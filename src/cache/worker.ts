/** The cache's thread: opens the store and hands it to the loop. Everything else is in `loop.ts` and `core.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Database } from 'better-sqlite3';
import { codeOf } from '../errors.ts';
import { systemClock } from '../runtime/clock.ts';
import { parseDeviceKey } from '../wire/keys.ts';
import type { RecountReport } from './account.ts';
import { bootClock, bootId } from './boot.ts';
import { CacheCore } from './core.ts';
import { logBytesMax } from './file-bytes.ts';
import { isReadOnly, makeFolder, readOnly } from './folder.ts';
import { spoolOf } from './forget/spool.ts';
import { BallastFile, ballastBytes } from './ladder/ballast.ts';
import { diskOf } from './ladder/room.ts';
import { lockFolder } from './lock.ts';
import { CacheLoop } from './loop.ts';
import { errorFacts, type FromWorker, type ToWorker, type WorkerOptions } from './protocol.ts';
import { recountDirectory } from './recount.ts';
import type { DamageNote } from './recover/notes.ts';
import { isSuspicious, openingReason, openRecovering } from './recover/open.ts';
import { clearSuspect, markSuspect, markUnsynced } from './recover/suspect.ts';
import { SqliteStore } from './store-sqlite.ts';
import type { LadderState } from './types.ts';
import { processWritten, Wear } from './wear.ts';
import type { Transferable } from './windows/closed.ts';
import { WriteBudget } from './write-budget.ts';

const port = parentPort;
if (port === null) throw new Error('worker.ts is started by open-cache.ts');
const post = (message: FromWorker, transfer: readonly Transferable[] = []) => port.postMessage(message, transfer);

interface OpenCore {
  readonly core: CacheCore;
  readonly wear: Wear;
  readonly notes: readonly DamageNote[];
  readonly account: RecountReport | undefined;
  /** Whose lock it is. */
  readonly release: () => void;
}

function openCore({ config, targets, keys, device, version, reason }: WorkerOptions): OpenCore {
  makeFolder(config.path);
  const lock = lockFolder(config.path);
  const { bytesMax, ageMax, windowsAgeMax, windowsKept, windows, checkpointInterval } = config;
  const { deadLettersMax, unsyncedWait } = config;
  const kept = { bytesMax, ageMax, windowsAgeMax, windowsKept, windows };
  const limits = { ...kept, checkpointInterval, deadLettersMax, unsyncedWait };
  const ladder = {
    diskFreeMin: config.diskFreeMin,
    disk: diskOf(config.path),
    ballast: new BallastFile(config.path, ballastBytes(bytesMax)),
    uncommittedBytesMax: config.uncommittedBytesMax,
    onLadder: (state: LadderState) => post({ type: 'ladder', state }),
  };
  const onDamage = (note: DamageNote) => post({ type: 'damage', note });
  const key = device === undefined ? undefined : parseDeviceKey(device);
  try {
    const makeRoom = () => ladder.ballast.release();
    const place = { folder: config.path, bytesMax, clock: bootClock, makeRoom };
    const { value, notes } = openRecovering(place, (db, found) => {
      const store = new SqliteStore(db, keys, logBytesMax(bytesMax));
      const once = () => ladder.ballast.madeBytes;
      const wear = new Wear(store, { clock: bootClock, written: processWritten, once, endurance: config.endurance });
      const core = new CacheCore(store, {
        ...limits,
        ...ladder,
        onDamage,
        wear,
        clock: bootClock,
        boot: bootId(),
        targets,
        device: key,
        version,
        reason: openingReason(reason, found),
      });
      return { core, wear, account: recountAtStart(db) };
    });
    return { ...value, notes, release: () => lock.release() };
  } catch (thrown) {
    lock.release();
    throw thrown;
  }
}

/** Before anything is delivered, and without a thread of its own. What cannot be read here is told by whoever needs it. */
function recountAtStart(db: Database): RecountReport | undefined {
  try {
    return { differences: recountDirectory(db), blocks: 0, wrong: [] };
  } catch {
    return undefined;
  }
}

// Given by open-cache.ts.
const options = workerData as WorkerOptions;

function fail(thrown: unknown): void {
  const { path } = options.config;
  const isStopped = isReadOnly(path);
  if (!isStopped && isSuspicious(thrown)) markSuspect(path);
  if (codeOf(thrown) === 'cache.disk') markUnsynced(path);
  const isSaid = codeOf(thrown) === 'cache.read_only';
  post({ type: 'failed', error: errorFacts(isStopped && !isSaid ? readOnly(path, thrown) : thrown) });
  port?.close();
}

try {
  const { config } = options;
  const { core, wear, notes, account, release } = openCore(options);
  const loop = new CacheLoop({
    core,
    clock: systemClock,
    commitIntervalMs: config.commitInterval,
    budget: new WriteBudget(config.writeBudget, bootClock.monoMs(), wear.lastDay, processWritten()),
    budgetMs: bootClock.monoMs,
    written: processWritten,
    spool: spoolOf(config.path),
    post,
    onClosed: () => {
      clearSuspect(config.path);
      release();
    },
    onFailed: fail,
  });
  port.on('message', (message: ToWorker) => {
    loop.receive(message);
    if (message.type === 'close') port.close();
  });
  process.on('uncaughtException', fail);
  const { run, boot } = core.runs.current;
  post({ type: 'ready', run, boot, damage: notes, account });
} catch (thrown) {
  fail(thrown);
}
