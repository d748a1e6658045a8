/**
 * The proof at the end of a demo, by content and from both ends:
 *
 * 1. The gateway's ledger adds up, by its counters and by a recount of its blocks: accepted = delivered + pending +
 *    written off, and nothing is pending.
 * 2. The cloud holds for each tag exactly what the gateway accepted: same number of readings, same order-free digest of
 *    their times, values and qualities. A reading lost, doubled or changed on the way changes the digest.
 * 3. The plant agrees: every message its sensors published is in the cloud exactly once with its values, and every value
 *    read from a register is one that this register really held then.
 */

import type { Published } from '../plant/sensor-clients.ts';
import type { Claim } from '../plant/truth.ts';
import type { TagDigest } from '../wire/digest.ts';

export interface LedgerSums {
  readonly accepted: number;
  readonly delivered: number;
  readonly pending: number;
  readonly writtenOff: number;
  /** Differences between the counters and the recount, as sentences. */
  readonly problems: readonly string[];
}

/** One reading as the cloud answers it. */
export interface CloudReading {
  readonly tag: string;
  readonly timeMs: number;
  readonly value: number | boolean | string | null;
  readonly status: string;
}

export interface Verdict {
  readonly holds: boolean;
  readonly problems: readonly string[];
  readonly tags: number;
  readonly readings: number;
  readonly messages: number;
  readonly registers: number;
}

const PROBLEMS_SHOWN_MAX = 20;

export function judgeLedger(sums: LedgerSums): string[] {
  const problems = [...sums.problems];
  const { accepted, delivered, pending, writtenOff } = sums;
  if (accepted !== delivered + pending + writtenOff) {
    problems.push(`${accepted} accepted, but ${delivered} delivered + ${pending} pending + ${writtenOff} written off`);
  }
  if (pending !== 0) problems.push(`${pending} readings are still pending`);
  if (accepted === 0) problems.push('nothing was accepted: a proof over nothing proves nothing');
  return problems;
}

export function judgeContent(gateway: ReadonlyMap<string, TagDigest>, cloud: ReadonlyMap<string, TagDigest>): string[] {
  const problems: string[] = [];
  for (const [tag, here] of gateway) {
    const there = cloud.get(tag);
    if (there === undefined) problems.push(`${tag}: the gateway accepted ${here.count}, the cloud has none`);
    else if (there.count !== here.count) {
      problems.push(`${tag}: the gateway accepted ${here.count}, the cloud has ${there.count}`);
    } else if (there.digest !== here.digest) problems.push(`${tag}: ${here.count} readings, but not the same ones`);
  }
  for (const tag of cloud.keys()) {
    if (!gateway.has(tag)) problems.push(`${tag}: in the cloud, but never accepted by the gateway`);
  }
  return problems;
}

/** The sensors' messages, as configured in examples/demo.yaml: topic sensors/<n>/climate to climate/<n>/<field>. */
const FIELDS = { temperature: 't', humidity: 'h', pressure: 'p' } as const;

/** The readings that the last message of each sensor makes: a broker keeps the order, so with these all are there. */
export function lastReadings(published: readonly Published[]): { readonly tag: string; readonly timeMs: number }[] {
  const last = new Map(published.map(({ topic, payload }) => [topic, Number(JSON.parse(payload).ts)]));
  return [...last].map(([topic, timeMs]) => ({ tag: `climate/${topic.split('/')[1]}/temperature`, timeMs }));
}

/**
 * @param readings all readings of the climate source that the cloud holds.
 * @param subscribedMs what was published before the gateway's subscription was granted is no business of the gateway's.
 * @param brokerMayRepeat after a lost connection QoS 1 is "at least once" (MQTT 3.1.1, section 4.3.2), and the plant's broker
 *   sends some messages again under a new packet id: no receiver can tell that from a new message. Until then, once is once.
 */
export function judgeMessages(
  published: readonly Published[],
  readings: readonly CloudReading[],
  subscribedMs: number,
  brokerMayRepeat = false,
): string[] {
  const problems: string[] = [];
  const held = new Map<string, number>();
  for (const reading of readings) {
    const key = `${reading.tag} ${reading.timeMs} ${reading.value}`;
    held.set(key, (held.get(key) ?? 0) + 1);
  }
  for (const { topic, payload } of published) {
    const message = JSON.parse(payload) as Record<string, number>;
    for (const [field, key] of Object.entries(FIELDS)) {
      const tag = `climate/${topic.split('/')[1]}/${field}`;
      const times = held.get(`${tag} ${message.ts} ${message[key]}`) ?? 0;
      const isMissing = times === 0 && Number(message.ts) >= subscribedMs;
      if (isMissing || (times > 1 && !brokerMayRepeat))
        problems.push(
          `${tag} at ${message.ts} (${message[key]}) was published once and is in the cloud ${times} times`,
        );
      held.delete(`${tag} ${message.ts} ${message[key]}`);
    }
  }
  for (const key of held.keys()) problems.push(`${key}: in the cloud, but no sensor said it`);
  return problems;
}

/** The plant steps ten times a second; a reply may have been under way, and timers are late on a busy machine. */
const REGISTER_SLACK_MS = 2500;

/** What the cloud says the registers held, as questions to the plant. A bad reading claims nothing. */
export function registerClaims(
  readings: readonly CloudReading[],
  source: string,
  tags: readonly { readonly unit: number; readonly name: string; readonly type: string }[],
): Claim[] {
  const byName = new Map(tags.map((tag) => [`${source}/${tag.name}`, tag]));
  return readings.flatMap((reading) => {
    const tag = byName.get(reading.tag);
    if (tag === undefined || reading.status === 'bad') return [];
    return [
      {
        unit: tag.unit,
        tag: tag.name,
        value: reading.value,
        wide: tag.type === 'int64' || tag.type === 'uint64',
        fromMs: reading.timeMs - REGISTER_SLACK_MS,
        toMs: reading.timeMs + 1,
      },
    ];
  });
}

export function verdict(
  problems: readonly string[],
  counts: Pick<Verdict, 'tags' | 'readings' | 'messages' | 'registers'>,
): Verdict {
  const shown = problems.slice(0, PROBLEMS_SHOWN_MAX);
  if (problems.length > shown.length) shown.push(`… and ${problems.length - shown.length} more`);
  return { holds: problems.length === 0, problems: shown, ...counts };
}
