/**
 * Values that somebody asks for, over MQTT or HTTP. What is live is answered at once. What is past its time is read from its
 * device first, once however many ask (the ingest sees to that); what cannot be read is answered as it is known, marked, with
 * the reason in `note`.
 */
import { Quality } from '../reading.ts';
import type { LiveView } from './live.ts';
import { NOT_AVAILABLE, readingFields } from './topics.ts';
import { AllValues } from './values-all.ts';

/** In one request. */
export const TAGS_MAX = 100;

/** Why a value past its time was not read anew. */
const NOTES: Readonly<Record<string, string>> = {
  tells: 'its source tells by itself and cannot be asked',
  down: 'its source or unit does not answer',
  full: 'the cache is full: polls wait',
  busy: 'too many ask at once',
  late: 'there was no answer in time',
};

/** @returns `read`, or one of the reasons why not. */
export type AskDevice = (index: number) => Promise<string>;

export interface ValueAnswer {
  readonly tag: string;
  readonly error?: string;
  readonly note?: string;
}

export class ValueDesk {
  readonly #live: LiveView;
  readonly #all: AllValues;
  readonly #ask: AskDevice;

  constructor(live: LiveView, ask: AskDevice) {
    this.#live = live;
    this.#all = new AllValues(live);
    this.#ask = ask;
  }

  /** In the order of the names. @param may what the asker may read: the rest is not there for him. */
  values(names: readonly string[], may: (name: string) => boolean = () => true): Promise<ValueAnswer[]> {
    return Promise.all(names.map((name) => this.#value(name, may)));
  }

  /** Of every tag, as it is known now: JSON in UTF-8, in pieces. Nothing is read from a device for it. */
  all(): Iterable<readonly Uint8Array[]> {
    return this.#all.json();
  }

  async #value(tag: string, may: (name: string) => boolean): Promise<ValueAnswer> {
    const index = may(tag) ? this.#live.indexOf(tag) : undefined;
    if (index === undefined) return this.#remembered(tag, may);
    const note = this.#isFresh(index) ? undefined : NOTES[await this.#ask(index)];
    return { tag, ...this.#fields(index), ...(note === undefined ? {} : { note }) };
  }

  #remembered(tag: string, may: (name: string) => boolean): ValueAnswer {
    const known = may(tag) ? this.#live.remembered?.(tag) : undefined;
    if (known === undefined) return { tag, error: 'no such tag' };
    const { value, timeMs, quality, definition } = known;
    return { tag, ...readingFields(value, timeMs, quality, definition), note: NOTES.tells ?? '' };
  }

  /** A device that gave no answer when it was read is asked again; one that answered "no" has answered. */
  #isFresh(index: number): boolean {
    return this.#live.isLive(index) && this.#live.read(index)?.quality !== Quality.commError;
  }

  #fields(index: number): object {
    const about = this.#live.tag(index);
    const reading = this.#live.read(index);
    if (reading === undefined) return NOT_AVAILABLE;
    return readingFields(reading.value, reading.timeMs, reading.quality, about);
  }
}
