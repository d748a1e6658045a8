/**
 * One client that subscribed, and what it has yet to be told. That is kept as marks (this tag, this topic), never as messages:
 * a value is looked up when it is sent. So a client that reads slowly costs no memory and gets the latest when its turn comes;
 * one that reads nothing for a while is dropped.
 *
 * A subscription marks everything it asks for; these first messages carry the retain flag, as retained ones do. Tags go out at
 * most once in `minIntervalMs`, states at once.
 */
import type { Clock, Timer } from '../runtime/clock.ts';
import { matches } from './filters.ts';
import type { GuardedSocket } from './guard.ts';
import { publishPacket } from './packet.ts';

/** Written in one go, before looking at what the client has taken. */
const SLICE_BYTES = 65_536;
/** A panel that paints takes a second; one that takes nothing for so long is stuck. */
export const SLOW_MS = 30_000;

/** Everything there is to say. */
export interface Content {
  /** Topics besides those of tags: states and windows. */
  documents(): Iterable<string>;
  document(topic: string): string | undefined;
  tagCount(): number;
  tagTopic(index: number): string | undefined;
  /** Undefined while the tag has no reading. */
  tagPayload(index: number): string | undefined;
}

const [UNKNOWN, UNWANTED, WANTED] = [0, 1, 2];
/** `GONE`: what was said of it no longer holds, and nothing is said in its place. An empty payload tells clients so. */
const [NOT_DUE, DUE, DUE_AS_RETAINED, GONE] = [0, 1, 2, 3];

export class Listener {
  readonly id: string;
  readonly socket: GuardedSocket;
  messages = 0;
  readonly #content: Content;
  readonly #clock: Clock;
  readonly #minIntervalMs: number;
  readonly #filters = new Map<string, readonly string[]>();
  #wanted = new Uint8Array(0);
  #due = new Uint8Array(0);
  #tags: number[] = [];
  readonly #documents = new Map<string, number>();
  #nextTagsMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #woken = false;
  #running = false;

  constructor(id: string, socket: GuardedSocket, content: Content, clock: Clock, minIntervalMs: number) {
    this.id = id;
    this.socket = socket;
    this.#content = content;
    this.#clock = clock;
    this.#minIntervalMs = minIntervalMs;
    socket.once('close', () => this.#timer?.cancel());
  }

  get filters(): number {
    return this.#filters.size;
  }

  subscribe(filters: readonly string[]): void {
    const split = filters.map((filter) => filter.split('/'));
    for (const [at, filter] of filters.entries()) this.#filters.set(filter, split[at] ?? []);
    this.#wanted.fill(UNKNOWN);
    for (const topic of this.#content.documents()) {
      if (wants(split, topic)) this.#documents.set(topic, DUE_AS_RETAINED);
    }
    for (let index = 0; index < this.#content.tagCount(); index++) {
      const topic = this.#content.tagTopic(index);
      if (topic !== undefined && wants(split, topic)) this.#mark(index, DUE_AS_RETAINED);
    }
    this.#nextTagsMs = Number.NEGATIVE_INFINITY;
    this.#wake();
  }

  unsubscribe(filters: readonly string[]): void {
    for (const filter of filters) this.#filters.delete(filter);
    this.#wanted.fill(UNKNOWN);
  }

  tagsChanged(indexes: Uint32Array | readonly number[]): void {
    for (const index of indexes) {
      if (this.#wantsTag(index) && this.#due[index] === NOT_DUE) this.#mark(index, DUE);
    }
    if (this.#tags.length > 0 && this.#timer === undefined) this.#wake();
  }

  documentChanged(topic: string): void {
    if (!wants(this.#filters.values(), topic)) return;
    if (!this.#documents.has(topic)) this.#documents.set(topic, DUE);
    this.#wake();
  }

  /** There is nothing to say there any more. */
  documentGone(topic: string): void {
    if (!wants(this.#filters.values(), topic)) return;
    this.#documents.set(topic, GONE);
    this.#wake();
  }

  tagGone(index: number): void {
    if (!this.#wantsTag(index)) return;
    this.#mark(index, GONE);
    if (this.#timer === undefined) this.#wake();
  }

  /** At once and out of turn, for the last words and for answers; not if the client reads nothing anyway. */
  say(topic: string, payload: string): void {
    if (wants(this.#filters.values(), topic) && !this.socket.full) this.#send(topic, payload, false);
  }

  #mark(index: number, due: number): void {
    this.#grow(index);
    if (this.#due[index] === NOT_DUE) this.#tags.push(index);
    this.#due[index] = due;
  }

  #wantsTag(index: number): boolean {
    this.#grow(index);
    const known = this.#wanted[index];
    if (known !== UNKNOWN) return known === WANTED;
    const topic = this.#content.tagTopic(index);
    if (topic === undefined) return false;
    const wanted = wants(this.#filters.values(), topic);
    this.#wanted[index] = wanted ? WANTED : UNWANTED;
    return wanted;
  }

  #grow(index: number): void {
    if (index < this.#due.length) return;
    const length = Math.max(this.#content.tagCount(), index + 1, this.#due.length * 2);
    const [due, wanted] = [this.#due, this.#wanted];
    this.#due = new Uint8Array(length);
    this.#due.set(due);
    this.#wanted = new Uint8Array(length);
    this.#wanted.set(wanted);
  }

  /** Soon, so that what changes together goes out together. */
  #wake(): void {
    if (this.#woken || this.#running) return;
    this.#woken = true;
    setImmediate(() => {
      this.#woken = false;
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    while (!this.socket.destroyed) {
      if (this.#documents.size > 0) {
        this.#sendDocuments();
      } else if (this.#tags.length > 0 && this.#clock.monoMs() >= this.#nextTagsMs) {
        this.#nextTagsMs = this.#clock.monoMs() + this.#minIntervalMs;
        const tags = this.#tags;
        this.#tags = [];
        await this.#sendTags(tags);
      } else break;
      await this.#taken();
    }
    this.#running = false;
    if (this.#tags.length > 0 && !this.socket.destroyed) {
      this.#timer ??= this.#clock.after(this.#nextTagsMs - this.#clock.monoMs(), () => {
        this.#timer = undefined;
        void this.#run();
      });
    }
  }

  #sendDocuments(): void {
    this.socket.cork();
    let bytes = 0;
    for (const [topic, due] of this.#documents) {
      this.#documents.delete(topic);
      const payload = this.#content.document(topic) ?? (due === GONE ? '' : undefined);
      if (payload !== undefined) bytes += this.#send(topic, payload, due === DUE_AS_RETAINED);
      if (bytes >= SLICE_BYTES) break;
    }
    this.socket.uncork();
  }

  async #sendTags(indexes: readonly number[]): Promise<void> {
    let bytes = 0;
    this.socket.cork();
    for (const index of indexes) {
      const due = this.#due[index];
      this.#due[index] = NOT_DUE;
      const topic = this.#content.tagTopic(index);
      if (topic === undefined || !this.#wantsTag(index)) continue;
      const payload = this.#content.tagPayload(index) ?? (due === GONE ? '' : undefined);
      if (payload !== undefined) bytes += this.#send(topic, payload, due === DUE_AS_RETAINED);
      if (bytes < SLICE_BYTES) continue;
      bytes = 0;
      this.socket.uncork();
      await this.#taken();
      if (this.socket.destroyed) return;
      // States do not wait for a long row of tags.
      this.#sendDocuments();
      this.socket.cork();
    }
    this.socket.uncork();
  }

  #send(topic: string, payload: string, retain: boolean): number {
    const packet = publishPacket(topic, payload, retain);
    this.messages++;
    this.socket.write(packet);
    return packet.length;
  }

  async #taken(): Promise<void> {
    const timer = this.#clock.after(SLOW_MS, () => this.socket.offend('slow'));
    await this.socket.taken();
    timer.cancel();
  }
}

function wants(filters: Iterable<readonly string[]>, topic: string): boolean {
  const levels = topic.split('/');
  for (const filter of filters) if (matches(filter, levels)) return true;
  return false;
}
