/**
 * What a client may ask for, under `sluice/<gateway>/$cmd/`:
 *
 *   ack      {"alarm":"boiler/flow_temp:hi"}              who may write
 *   read     {"tag":"boiler/flow_temp"}, {"tags":[…]}     everybody, of the tags he may subscribe to
 *   history  {"tag":"…","from":…,"to":…,"points":500}     as `read`
 *
 * The answer goes to that client alone, on `sluice/<gateway>/$reply/<its client id>`, if it subscribed there; a `request` in
 * the command comes back in it. (MQTT 3.1.1 has no response topics, and the broker speaks no other version.)
 */
import { describe } from '../errors.ts';
import { type HistoryDesk, parseHistory } from './history.ts';
import { TAGS_MAX, type ValueDesk } from './values.ts';

export interface CommandAnswer {
  readonly ok: boolean;
  readonly command: string;
  readonly request?: string | number;
  readonly error?: string;
}

export interface Asker {
  readonly name: string;
  readonly write: boolean;
  /** Whether it may know of this tag. */
  readonly may: (tag: string) => boolean;
}

export interface CommandParts {
  readonly acknowledge: (alarmId: string, by: string) => boolean;
  readonly values: Pick<ValueDesk, 'values'>;
  readonly history: HistoryDesk;
}

type Asked = Readonly<Record<string, unknown>>;
/** What the answer holds besides; a text is an error. */
type Work = (asked: Asked, by: Asker, parts: CommandParts) => Promise<object | string> | object | string;

const COMMANDS: Readonly<Record<string, Work>> = {
  ack(asked, by, { acknowledge }) {
    if (!by.write) return 'not allowed';
    if (typeof asked.alarm !== 'string') return 'expected {"alarm": "<its id>"}';
    return acknowledge(asked.alarm, by.name) ? {} : 'no such alarm, or it is acknowledged already';
  },
  async read({ tag, tags }, by, { values }) {
    const names = typeof tag === 'string' ? [tag] : tags;
    if (!isNames(names)) return `expected {"tag": "<its name>"} or {"tags": [up to ${TAGS_MAX} names]}`;
    const found = await values.values(names, by.may);
    return found.every(({ error }) => error !== undefined) ? 'no such tag' : { values: found };
  },
  async history(asked, by, { history }) {
    const question = parseHistory(asked);
    if (typeof question === 'string') return question;
    return by.may(question.tag) ? history(question) : 'no such tag';
  },
};
/** What needs no right to write. */
export const ASKING: ReadonlySet<string> = new Set(['read', 'history']);

const SHOWN_CHARACTERS = 40;

export async function answerCommand(
  command: string,
  payload: Buffer,
  by: Asker,
  parts: CommandParts,
): Promise<CommandAnswer> {
  const asked = parseObject(payload);
  const request = asked?.request;
  const echoed = typeof request === 'string' || typeof request === 'number' ? { request } : {};
  const about = { command: command.slice(0, SHOWN_CHARACTERS), ...echoed };
  const failed = (error: string): CommandAnswer => ({ ok: false, ...about, error });
  if (asked === undefined) return failed('expected a JSON object');
  const work = Object.hasOwn(COMMANDS, command) ? COMMANDS[command] : undefined;
  if (work === undefined) return failed('no such command');
  try {
    const done = await work(asked, by, parts);
    return typeof done === 'string' ? failed(done) : { ok: true, ...about, ...done };
  } catch (thrown) {
    return failed(describe(thrown));
  }
}

function isNames(names: unknown): names is readonly string[] {
  return (
    Array.isArray(names) &&
    names.length > 0 &&
    names.length <= TAGS_MAX &&
    names.every((name) => typeof name === 'string')
  );
}

function parseObject(payload: Buffer): Asked | undefined {
  try {
    const parsed: unknown = JSON.parse(payload.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : undefined;
  } catch {
    return undefined;
  }
}
