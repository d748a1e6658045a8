/**
 * The plant trace as MQTT messages, ready made: only packet id and time are written into them as they go, so that the
 * generator takes as little of the machine as can be.
 */
import { writeFrame } from '../drivers/mqtt/frames.ts';
import { plantTrace, tags } from './plant-trace.mjs';

const TRACE_SECONDS = 60;
const PASS_MS = TRACE_SECONDS * 1000;
const PUBLISH_QOS_1 = 0x32;
/** Milliseconds since 1970 have as many digits until the year 2286. */
const TIME_DIGITS = 13;
const TIME_PLACE = '0'.repeat(TIME_DIGITS);
/** More than the time of all messages of a run: 15,000 of 100 readings tell of 50 minutes. */
const AHEAD_MS = 2 * 3_600_000;
/** Devices whose tags share a message. */
const DEVICES = 5;

interface Message {
  readonly packet: Buffer;
  readonly idAt: number;
  readonly timeAt: number;
  readonly timeMs: number;
}

/** One reading a message, or as many as a device has tags. */
export const READINGS_A_MESSAGE = [1, tags.length / DEVICES] as const;

/** What the gateway's source says about them. */
export function topicsOf(readingsAMessage: number): object[] {
  if (readingsAMessage === 1) return [{ filter: 'bench/+', tag: '{1}', value: '$.v', time: '$.ts' }];
  return [{ filter: 'bench/+', tag: '{1}/{name}', each: '$.readings', name: '@.n', value: '@.v', time: '$.ts' }];
}

function makeMessages(readingsAMessage: number): Message[] {
  const trace = plantTrace({ seconds: TRACE_SECONDS });
  const digits = (tag: number) => String(tag).padStart(3, '0');
  if (readingsAMessage === 1) {
    return Array.from(trace.tag, (tag, row) =>
      makeMessage(`bench/${digits(tag)}`, { v: trace.value[row] }, trace.timeMs[row] ?? 0),
    );
  }
  const messages: Message[] = [];
  const open = Array.from({ length: DEVICES }, () => [] as { n: string; v: number | undefined }[]);
  for (let row = 0; row < trace.length; row++) {
    const tag = trace.tag[row] ?? 0;
    const device = tag % DEVICES;
    const readings = open[device] ?? [];
    readings.push({ n: digits(tag), v: trace.value[row] });
    if (readings.length < readingsAMessage) continue;
    messages.push(makeMessage(`bench/${device}`, { readings }, trace.timeMs[row] ?? 0));
    open[device] = [];
  }
  return messages;
}

function makeMessage(topic: string, content: object, timeMs: number): Message {
  const payload = Buffer.from(JSON.stringify({ ts: TIME_PLACE, ...content }).replace(`"${TIME_PLACE}"`, TIME_PLACE));
  const name = Buffer.from(topic);
  const head = writeFrame(PUBLISH_QOS_1, 2 + name.length + 2 + payload.length);
  const packet = Buffer.concat([head, Buffer.from([name.length >> 8, name.length]), name, Buffer.alloc(2), payload]);
  return { packet, idAt: head.length + 2 + name.length, timeAt: packet.indexOf(TIME_PLACE), timeMs };
}

/** Readings of the trace's time, shifted so that it goes forwards from message to message and ends before now. */
export class MqttLoad {
  readonly #messages: readonly Message[];
  /** Bytes. */
  readonly longest: number;
  #at = 0;
  #laterMs = 0;

  constructor(readingsAMessage: number) {
    this.#messages = makeMessages(readingsAMessage);
    this.longest = this.#messages.reduce((longest, { packet }) => Math.max(longest, packet.length), 0);
  }

  /** Goes on where the last ones ended: a source whose clock was set back after the warm-up is another measurement. */
  begin(): void {
    if (this.#at === 0) this.#laterMs = Date.now() - AHEAD_MS - (this.#messages[0]?.timeMs ?? 0);
  }

  /** Writes the next message at `at`. @returns where it ends. */
  write(target: Buffer, at: number, packetId: number): number {
    const message = this.#messages[this.#at % this.#messages.length];
    if (message === undefined) throw new RangeError('no messages');
    const pass = Math.floor(this.#at / this.#messages.length);
    this.#at++;
    target.set(message.packet, at);
    target.writeUInt16BE(packetId, at + message.idAt);
    let rest = Math.round(message.timeMs + this.#laterMs + pass * PASS_MS);
    for (let digit = TIME_DIGITS - 1; digit >= 0; digit--) {
      target[at + message.timeAt + digit] = 0x30 + (rest % 10);
      rest = Math.floor(rest / 10);
    }
    return at + message.packet.length;
  }
}
