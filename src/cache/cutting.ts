/** Batches on their way out: cut, sealed, and written off where the cloud will not have them. */
import { isRefusable } from '../wire/classes.ts';
import type { CloudPublic, DeviceKey } from '../wire/keys.ts';
import type { Acks } from './acks.ts';
import { BatchBuilder, type Built, type Sealing } from './batch.ts';
import type { RunBook, TagBook, TargetBook } from './books.ts';
import type { Commits } from './commits.ts';
import type { Damage } from './damage.ts';
import type { Flight } from './flight.ts';
import type { Gaps } from './gaps.ts';
import type { Marks } from './marks.ts';
import { deadLetters } from './refusal.ts';
import type { Retention } from './retention.ts';
import { Selection } from './select.ts';
import type { BlockStore, TargetRow } from './store.ts';
import type { CutBatch, CutRequest } from './types.ts';

/** Of 100,000 rows down to one, and some more. */
const HALVINGS_MAX = 20;

interface Parts {
  readonly store: BlockStore;
  readonly runs: RunBook;
  readonly tags: TagBook;
  readonly targets: TargetBook;
  readonly flight: Flight;
  readonly acks: Acks;
  readonly marks: Marks;
  readonly gaps: Gaps;
  readonly damage: Damage;
  readonly commits: Commits;
  readonly retention: Retention;
}

export interface CuttingOptions {
  /** Signs batches; without it nothing is cut. */
  readonly device: DeviceKey | undefined;
  readonly unsyncedWait: number;
  readonly deadLettersMax: number;
}

export class Cutting {
  readonly #parts: Parts;
  readonly #options: CuttingOptions;
  readonly #selection: Selection;
  readonly #builder: BatchBuilder;
  #device: DeviceKey | undefined;
  readonly #clouds = new Map<string, CloudPublic>();

  constructor(parts: Parts, options: CuttingOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#device = options.device;
    const { store, runs, tags, targets, flight, marks } = parts;
    this.#selection = new Selection({ store, marks, runs, targets, flight, unsyncedWaitMs: options.unsyncedWait });
    this.#builder = new BatchBuilder(store, runs, tags);
  }

  /** @param device signs from now on. */
  setRecipient(target: string, cloud: CloudPublic, device: DeviceKey | undefined): void {
    this.#clouds.set(target, cloud);
    this.#device = device ?? this.#device;
  }

  cut(request: CutRequest): CutBatch | undefined {
    const target = this.#parts.targets.get(request.target);
    const cloud = this.#clouds.get(request.target);
    const device = this.#device;
    if (cloud === undefined || device === undefined) return undefined;
    for (let rowsMax = request.rowsMax, tries = 0; tries < HALVINGS_MAX; tries++) {
      const built = this.#build({ ...request, rowsMax }, target, { device, cloud });
      if (built === undefined) return undefined;
      if (built.batch.envelope.length > request.bytesMax && built.batch.rows > 1) {
        rowsMax = built.batch.rows >> 1;
        continue;
      }
      this.#parts.flight.add(built.inFlight);
      return built.batch;
    }
    return undefined;
  }

  #build(request: CutRequest, target: TargetRow, sealing: Sealing): Built | undefined {
    for (;;) {
      const now = this.#parts.commits.now();
      const selected = this.#selection.select(request, now);
      if (selected.length === 0) return undefined;
      const built = this.#builder.build(selected, target, request, sealing, Math.max(0, Math.floor(now.wallMs)));
      if (!('damaged' in built)) return built;
      // Rows that the cloud has are not written off.
      if (this.#parts.acks.waiting) {
        this.#parts.acks.flush();
        continue;
      }
      this.#parts.commits.transact((stamp) => this.#parts.damage.setAside(built.damaged, stamp));
    }
  }

  refuse(batchId: string, reason: string): void {
    const { store, tags } = this.#parts;
    const flight = this.#parts.flight.get(batchId);
    if (flight === undefined || this.#parts.acks.has(batchId)) return;
    const target = this.#parts.targets.get(flight.target);
    this.#parts.commits.transact((now) => {
      for (const part of flight.parts.filter(({ class: classNumber }) => isRefusable(classNumber))) {
        const rows = this.#parts.marks.pending(1 << target.bit, part);
        const { letters, fromMs, toMs } = deadLetters(store, tags, rows, part.ranges, reason, now.wallMs);
        for (const letter of letters) store.addDeadLetter(letter);
        const { ranges } = this.#parts.marks.settle(target, part, 'refused');
        this.#parts.gaps.write(target, 'refused', [{ run: part.run, class: part.class, ranges, fromMs, toMs }], now);
      }
      store.trimDeadLetters(this.#options.deadLettersMax);
    });
    this.#parts.flight.remove(batchId);
    this.#parts.retention.marksChanged();
  }
}
