/**
 * Who listens. The broker library keeps connections, sign-in and subscriptions; messages go from here to the sockets, because
 * the library's own routing waits for its slowest client, and keeps what a client does not read.
 */
import type { Clock } from '../runtime/clock.ts';
import type { GuardedSocket } from './guard.ts';
import { type Content, Listener } from './listener.ts';

export class Audience {
  readonly #content: Content;
  readonly #clock: Clock;
  readonly #minIntervalMs: number;
  readonly #listeners = new Map<string, Listener>();
  #messagesOfGone = 0;

  constructor(content: Content, clock: Clock, minIntervalMs: number) {
    this.#content = content;
    this.#clock = clock;
    this.#minIntervalMs = minIntervalMs;
  }

  get size(): number {
    return this.#listeners.size;
  }

  /** Sent since the start. */
  get messages(): number {
    let messages = this.#messagesOfGone;
    for (const listener of this.#listeners.values()) messages += listener.messages;
    return messages;
  }

  /** @returns how many filters the client has now. */
  subscribe(id: string, socket: GuardedSocket, filters: readonly string[]): number {
    let listener = this.#listeners.get(id);
    if (listener === undefined) {
      listener = new Listener(id, socket, this.#content, this.#clock, this.#minIntervalMs);
      this.#listeners.set(id, listener);
    }
    listener.subscribe(filters);
    return listener.filters;
  }

  unsubscribe(id: string, filters: readonly string[]): void {
    const listener = this.#listeners.get(id);
    listener?.unsubscribe(filters);
    if (listener?.filters === 0) this.#remove(listener);
  }

  /** @param socket only if it is still this one: a client that came back under its id has another. */
  leave(id: string, socket: GuardedSocket): void {
    const listener = this.#listeners.get(id);
    if (listener?.socket === socket) this.#remove(listener);
  }

  tagsChanged(indexes: Uint32Array | readonly number[]): void {
    for (const listener of this.#listeners.values()) listener.tagsChanged(indexes);
  }

  documentChanged(topic: string): void {
    for (const listener of this.#listeners.values()) listener.documentChanged(topic);
  }

  documentGone(topic: string): void {
    for (const listener of this.#listeners.values()) listener.documentGone(topic);
  }

  tagGone(index: number): void {
    for (const listener of this.#listeners.values()) listener.tagGone(index);
  }

  /** To all who listen there, or to one of them: at once. */
  say(topic: string, payload: string, id?: string): void {
    for (const listener of this.#listeners.values())
      if (id === undefined || id === listener.id) listener.say(topic, payload);
  }

  #remove(listener: Listener): void {
    this.#messagesOfGone += listener.messages;
    this.#listeners.delete(listener.id);
  }
}
