/**
 * From MQTT messages to the sink. One burst (what arrived in one go) is delivered together; the QoS 1 messages in it are
 * acknowledged when it is durable.
 *
 * A message that comes again although it was committed is pushed once only. There are two ways to know it:
 *
 * - Its packet id is that of a message whose PUBACK has not been sent, and the content is equal: the id is in use, so it can be
 *   no other (MQTT 3.1.1, section 4.3.2). The same is true while the PUBACK is on its way, if it is marked as sent again; then
 *   it gets no second PUBACK, which the broker could take for that of the id's next message.
 * - It was committed on an earlier connection: packet id and digest are among the receipts. That is asked only while old
 *   messages can come: when the broker had kept our session, until a ping sent a while after the subscriptions has been
 *   answered and then either a message comes that is neither marked as sent again nor known, or half a minute passes. After
 *   that it is asked only for a message marked as sent again: a slow broker may still have some. A packet id is asked for
 *   once: when it comes again on this connection, it is a new message. Asking longer would be worse than asking too short: a
 *   broker may use an id again for a new message with equal content, and that one must not be lost.
 */
import { hash } from 'node:crypto';
import type { ListenSink } from '../../src/driver.ts';
import { SluiceError } from '../../src/errors.ts';
import { slotKind } from '../../src/reading.ts';
import type { Clock } from '../../src/runtime/clock.ts';
import { READINGS_PER_MESSAGE_MAX, Rows, Topic, type TopicRule } from './rule.ts';
import { Refusal } from './value.ts';

/** Topics whose tags are found by one look-up; beyond it all are looked up anew. */
const TOPICS_KNOWN_MAX = 50_000;
const PACKET_IDS = 65_536;

export interface MessageHead {
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly messageId?: number | undefined;
}

export interface ListenerOptions {
  readonly rules: readonly TopicRule[];
  readonly payloadBytesMax: number;
  readonly sink: ListenSink;
  readonly clock: Clock;
  /** Counts a QoS 1 message, gives its number. */
  readonly received: (packetId: number) => number;
  /** The messages up to this number may be acknowledged. */
  readonly allow: (count: number) => void;
  readonly failed: (error: Error) => void;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #rows = new Rows();
  #topics = new Map<string, Topic>();
  #sessionPresent = false;
  /** Old messages may still come; the ids that came already on this connection cannot be old. */
  #resuming = false;
  #caughtUp = false;
  readonly #heard = new Uint8Array(PACKET_IDS);
  /** Digests of messages whose PUBACK the broker may not have read, by packet id, and whether it was sent. */
  readonly #digests: (string | undefined)[] = [];
  readonly #isAcknowledged = new Uint8Array(PACKET_IDS);
  #burst: NodeJS.Immediate | undefined;
  #unconfirmed = 0;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** Before the first message. */
  connected(sessionPresent: boolean): void {
    this.#sessionPresent = sessionPresent;
    this.#resuming = sessionPresent;
    if (!sessionPresent) this.#options.sink.receipts.clear();
  }

  /** What the broker had in flight when it took us back has come, as far as one can know. */
  caughtUp(): void {
    this.#caughtUp = true;
  }

  /** What was not sent again by now was acknowledged before. */
  endResumption(): void {
    if (!this.#resuming) return;
    this.#resuming = false;
    const { receipts } = this.#options.sink;
    receipts.release(receipts.unseen().filter((id) => this.#heard[id] === 0));
  }

  /** The PUBACK with this id has been sent: the broker may use the id for a new message. */
  acknowledged(packetId: number): void {
    this.#isAcknowledged[packetId] = 1;
  }

  /** The broker has read the PUBACKs with these ids, and has not used the ids since. */
  confirmed(packetIds: readonly number[]): void {
    for (const id of packetIds) this.#digests[id] = undefined;
    this.#options.sink.receipts.release(packetIds);
  }

  message(topic: string, payload: Buffer, head: MessageHead): void {
    if (head.qos === 1 && !this.#isNew(topic, payload, head)) return;
    this.#read(topic, payload, head);
    this.#schedule();
  }

  /** Delivers what is there, and asks for its acknowledgement. */
  flush(): void {
    if (this.#burst !== undefined) clearImmediate(this.#burst);
    this.#burst = undefined;
    const { sink, allow, failed } = this.#options;
    sink.deliver();
    const count = this.#unconfirmed;
    this.#unconfirmed = 0;
    if (count === 0) return;
    sink.durable().then(
      () => allow(count),
      (cause: unknown) =>
        failed(
          new SluiceError('mqtt.not_durable', 'retry', 'messages could not be committed and are left at the broker', {
            cause,
          }),
        ),
    );
  }

  /** Counts a QoS 1 message. If it was not taken before, its receipt is kept with what it says. */
  #isNew(topic: string, payload: Buffer, head: MessageHead): boolean {
    const { receipts } = this.#options.sink;
    const id = head.messageId ?? 0;
    const digest = hash('sha256', Buffer.concat([Buffer.from(`${topic}\0`), payload]), 'base64');
    const isEqual = this.#digests[id] === digest;
    const isAcknowledged = this.#isAcknowledged[id] === 1;
    if (isEqual && isAcknowledged && head.dup) return false;
    // Room first: it may ask for a commit that this message is not in, and the message and its receipt belong into one.
    this.#makeRoom();
    this.#unconfirmed = this.#options.received(id);
    this.#schedule();
    if (isEqual && !isAcknowledged) return false;
    this.#digests[id] = digest;
    this.#isAcknowledged[id] = 0;
    const isFirst = this.#heard[id] === 0;
    this.#heard[id] = 1;
    if (isFirst && (this.#resuming || head.dup) && receipts.seen(id, digest)) {
      // The end of the resumption let go of it, but its acknowledgement may be lost once more.
      if (!this.#resuming) receipts.add(id, digest);
      return false;
    }
    if (isFirst && this.#caughtUp && !head.dup && !head.retain) this.endResumption();
    receipts.add(id, digest);
    return true;
  }

  #makeRoom(): void {
    const { chunk } = this.#options.sink;
    const needed = Math.min(READINGS_PER_MESSAGE_MAX, chunk.rowsMax);
    if (chunk.rowsMax - chunk.length < needed) this.flush();
  }

  #read(topic: string, payload: Buffer, head: MessageHead): void {
    const { sink, clock, payloadBytesMax } = this.#options;
    if (payload.length > payloadBytesMax) {
      sink.reject(topic, payload, `a payload over ${payloadBytesMax} bytes`);
      return;
    }
    const found = this.#topics.get(topic) ?? this.#find(topic);
    if (found === undefined) {
      sink.reject(topic, payload, 'the topic matches no filter of this source');
      return;
    }
    let timedOnly = false;
    if (head.retain && !head.dup) {
      const { retained } = found.rule.config;
      // With our session kept, a retained message is one that we had, or that a later one replaced.
      if (retained === 'ignore' || (retained === 'timed' && this.#sessionPresent)) return;
      timedOnly = retained === 'timed';
    }
    this.#rows.length = 0;
    const refusal = found.read(payload, clock.wallMs(), this.#rows, timedOnly);
    if (refusal instanceof Refusal) sink.reject(topic, payload, refusal.reason);
    this.#push();
  }

  #find(topic: string): Topic | undefined {
    const { sink, rules } = this.#options;
    const found = Topic.match(rules, topic, (name, field) => sink.tag(name, field.about, field.fields));
    if (found === undefined) return undefined;
    if (this.#topics.size >= TOPICS_KNOWN_MAX) this.#topics.clear();
    this.#topics.set(topic, found);
    return found;
  }

  #push(): void {
    const { sink } = this.#options;
    const { length, tag, type, timeMs, slot, quality } = this.#rows;
    for (let row = 0; row < length; row++) {
      // Only a chunk shorter than one message can fill up here.
      if (sink.chunk.full) sink.deliver();
      const [index, time, value, byte] = [tag[row] ?? 0, timeMs[row] ?? 0, slot[row] ?? 0, quality[row] ?? 0];
      const kind = slotKind(type[row] ?? 'float64');
      if (kind === 'text') sink.chunk.pushText(index, time, String(value), byte);
      else if (kind === 'int64' || kind === 'uint64') sink.chunk.pushInt64(index, time, BigInt(value), byte);
      else sink.chunk.push(index, time, Number(value), byte);
    }
  }

  #schedule(): void {
    // Packets of one read are handled in ticks; the check phase comes after all of them.
    this.#burst ??= setImmediate(() => {
      try {
        this.flush();
      } catch (error) {
        this.#options.failed(error as Error);
      }
    });
  }
}
