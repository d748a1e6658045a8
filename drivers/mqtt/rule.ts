/** A `topics` entry made ready: from one message to rows. */
import { isUtf8 } from 'node:buffer';
import { type TagFields, tagName } from '../../src/config/fields.ts';
import { Quality, type TagDefinition, type ValueType } from '../../src/reading.ts';
import { parseJson } from './json.ts';
import { type JsonPath, valueAt } from './path.ts';
import { type TopicConfig, typeOf } from './schema.ts';
import { toTimeMs } from './time.ts';
import { fillTemplate, matchTopic } from './topic.ts';
import { parsePlain, Refusal, type Slot, toSlot } from './value.ts';

/** A message with more is no measurement; it would not fit into a chunk with its receipt. */
export const READINGS_PER_MESSAGE_MAX = 10_000;
/** Tags of one topic found by their name inside messages; beyond it they are looked up anew. */
const NAMES_PER_TOPIC_MAX = 10_000;

export interface FieldRule {
  /** Its place among the rule's fields. */
  readonly at: number;
  readonly name: string;
  /** Undefined for a payload that is the value. */
  readonly path: JsonPath | undefined;
  readonly type: ValueType;
  readonly about: Omit<TagDefinition, 'name'>;
  readonly fields: Partial<TagFields>;
}

export interface TopicRule {
  readonly config: TopicConfig;
  readonly levels: readonly string[];
  readonly fields: readonly FieldRule[];
}

/** Rows of one message, in columns that are used again for the next. */
export class Rows {
  length = 0;
  readonly tag: number[] = [];
  readonly type: ValueType[] = [];
  readonly timeMs: number[] = [];
  readonly slot: Slot[] = [];
  readonly quality: number[] = [];

  add(tag: number, type: ValueType, timeMs: number, slot: Slot, quality: number): void {
    const at = this.length++;
    this.tag[at] = tag;
    this.type[at] = type;
    this.timeMs[at] = timeMs;
    this.slot[at] = slot;
    this.quality[at] = quality;
  }
}

type Register = (name: string, field: FieldRule) => number | undefined;

export function compileRule(config: TopicConfig): TopicRule {
  const common = definedFields(config);
  const levels = config.filter.split('/');
  const type = typeOf(config);
  if (config.fields === undefined) return { config, levels, fields: [fieldRule(0, '', config.value, type, common)] };
  const fields = Object.entries(config.fields).map(([name, field], at) =>
    'path' in field
      ? fieldRule(at, name, field.path, field.type ?? type, { ...common, ...definedFields(field) })
      : fieldRule(at, name, field, type, common),
  );
  return { config, levels, fields };
}

/** One topic that a rule matches, with the indexes of its tags once they have been used. */
export class Topic {
  readonly rule: TopicRule;
  readonly #topic: string;
  readonly #captures: readonly string[];
  readonly #register: Register;
  #indexes: number[] = [];
  #named = new Map<string, number[]>();

  constructor(rule: TopicRule, topic: string, captures: readonly string[], register: Register) {
    this.rule = rule;
    this.#topic = topic;
    this.#captures = captures;
    this.#register = register;
  }

  static match(rules: readonly TopicRule[], topic: string, register: Register): Topic | undefined {
    for (const rule of rules) {
      const captures = matchTopic(rule.levels, topic);
      if (captures !== undefined) return new Topic(rule, topic, captures, register);
    }
    return undefined;
  }

  /** Adds what the message says to `rows`. @returns why some or all of it was not taken. */
  read(payload: Buffer, arrivedMs: number, rows: Rows, timedOnly: boolean): Refusal | undefined {
    const { config, fields } = this.rule;
    if (config.payload !== 'json') {
      const [field] = fields;
      if (field === undefined || timedOnly) return undefined;
      if (!isUtf8(payload)) return new Refusal('not UTF-8');
      return this.#add(field, parsePlain(payload.toString('utf8'), config.payload, field.type), '', arrivedMs, rows);
    }
    const message = parseJson(payload);
    if (message instanceof Refusal) return message;
    if (config.each === undefined) return this.#readElement(message, undefined, arrivedMs, 0, rows, timedOnly);
    const elements = valueAt(config.each, message, undefined);
    if (!Array.isArray(elements)) return new Refusal(`no list at ${config.each.text}`);
    if (elements.length * fields.length > READINGS_PER_MESSAGE_MAX) {
      return new Refusal(`more than ${READINGS_PER_MESSAGE_MAX} readings in a message`);
    }
    let refusal: Refusal | undefined;
    for (let at = 0; at < elements.length; at++) {
      const offsetMs = at * (config.step ?? 0);
      const fault = this.#readElement(message, elements[at], arrivedMs, offsetMs, rows, timedOnly);
      if (fault !== undefined) refusal ??= new Refusal(`element ${at}: ${fault.reason}`);
    }
    return refusal;
  }

  #readElement(
    message: unknown,
    element: unknown,
    arrivedMs: number,
    offsetMs: number,
    rows: Rows,
    timedOnly: boolean,
  ): Refusal | undefined {
    const { config, fields } = this.rule;
    let timeMs: number | undefined = arrivedMs;
    const stated = config.time === undefined ? undefined : valueAt(config.time, message, element);
    if (stated !== undefined && stated !== null) {
      timeMs = toTimeMs(stated);
      if (timeMs === undefined) return new Refusal(`no time at ${config.time?.text}`);
    } else if (timedOnly) return undefined;
    let name = '';
    if (config.name !== undefined) {
      const said = valueAt(config.name, message, element);
      if (typeof said !== 'string') return new Refusal(`no name at ${config.name.text}`);
      name = said;
    }
    let refusal: Refusal | undefined;
    let found = false;
    for (const field of fields) {
      const value = field.path === undefined ? undefined : valueAt(field.path, message, element);
      if (value === undefined) continue;
      found = true;
      const fault = this.#add(field, value, name, timeMs + offsetMs, rows);
      if (fault !== undefined) refusal ??= fault;
    }
    return found ? refusal : new Refusal(`nothing at ${fields.map((field) => field.path?.text).join(', ')}`);
  }

  #add(field: FieldRule, value: unknown, name: string, timeMs: number, rows: Rows): Refusal | undefined {
    // The device says that it has no value: a reading too, and a bad one.
    const slot = value === null ? 0 : toSlot(value, field.type);
    if (slot instanceof Refusal) return field.name === '' ? slot : new Refusal(`${field.name}: ${slot.reason}`);
    const tag = this.#tag(field, name);
    if (tag instanceof Refusal) return tag;
    if (tag !== undefined)
      rows.add(tag, field.type, timeMs, slot, value === null ? Quality.notAvailable : Quality.good);
    return undefined;
  }

  #tag(field: FieldRule, name: string): number | Refusal | undefined {
    const indexes = name === '' ? this.#indexes : this.#namedIndexes(name);
    const known = indexes[field.at];
    if (known !== undefined) return known;
    const words = { topic: this.#topic, captures: this.#captures, field: field.name, name };
    const parsed = tagName().safeParse(fillTemplate(this.rule.config.tag, words));
    if (!parsed.success || parsed.data.includes('\ufffd')) return new Refusal('the tag would have no valid name');
    const index = this.#register(parsed.data, field);
    if (index !== undefined) indexes[field.at] = index;
    return index;
  }

  #namedIndexes(name: string): number[] {
    let indexes = this.#named.get(name);
    if (indexes === undefined) {
      if (this.#named.size >= NAMES_PER_TOPIC_MAX) this.#named.clear();
      indexes = [];
      this.#named.set(name, indexes);
    }
    return indexes;
  }
}

const TAG_FIELDS = [
  'deadband',
  'maxSilence',
  'min',
  'max',
  'priority',
  'ttl',
  'alarm',
  'unit',
  'description',
  'location',
  'deviceType',
] as const;

function definedFields(
  config: { readonly [Key in (typeof TAG_FIELDS)[number]]?: TagFields[Key] | undefined },
): Partial<TagFields> {
  const entries = TAG_FIELDS.map((key) => [key, config[key]] as const).filter(([, value]) => value !== undefined);
  // Object.fromEntries forgets which key had which type.
  return Object.fromEntries(entries) as Partial<TagFields>;
}

function fieldRule(
  at: number,
  name: string,
  path: JsonPath | undefined,
  type: ValueType,
  fields: Partial<TagFields>,
): FieldRule {
  const { unit, description, location, deviceType } = fields;
  const about = {
    type,
    ...(unit === undefined ? {} : { unit }),
    ...(description === undefined ? {} : { description }),
    ...(location === undefined ? {} : { location }),
    ...(deviceType === undefined ? {} : { deviceType }),
  };
  return { at, name, path, type, about, fields };
}
