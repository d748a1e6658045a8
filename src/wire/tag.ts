/** A tag's identity is the hash of what it is: changed content is a new id, so no restore can mix two tags up. */
import { type TagDefinition, VALUE_TYPES, type ValueType } from '../reading.ts';
import { hex, malformed, utf8 } from './bytes.ts';
import { labelled } from './hash.ts';
import { parseJson } from './json.ts';

/** 32 lower-case hex digits of a 16-byte tag id. */
export type TagId = string;

export const TAG_ID_BYTES = 16;
/** Of the canonical content; a row of any class stays below 64 KiB, and a TAG row holds this twice-escaped. */
export const TAG_CONTENT_BYTES_MAX = 8 * 1024;

/** In this order in the canonical content; appended to, never reordered. */
const KEYS = ['name', 'type', 'unit', 'description', 'location', 'deviceType'] as const;

/** JSON without spaces, keys in a fixed order, absent ones left out: equal definitions are equal texts. */
export function canonicalTag(definition: TagDefinition): string {
  const out: Record<string, string> = {};
  for (const key of KEYS) {
    const value = definition[key];
    if (value !== undefined) out[key] = value;
  }
  return JSON.stringify(out);
}

/** SHA512("SLC1-tag\0" ‖ canonical content)[0..16]. */
export function tagId(definition: TagDefinition): Uint8Array {
  return contentId(canonicalTag(definition));
}

export function tagIdHex(definition: TagDefinition): TagId {
  return hex(tagId(definition));
}

/** The id of content that is canonical already. */
export function contentId(content: string): Uint8Array {
  return labelled('SLC1-tag\0', TAG_ID_BYTES, utf8(content));
}

/** @throws wire.malformed unless `content` is exactly what `canonicalTag` writes for some definition. */
export function parseTagContent(content: string): TagDefinition {
  const parsed = parseJson(content, { bytesMax: TAG_CONTENT_BYTES_MAX, depthMax: 1 });
  if (typeof parsed !== 'object' || parsed === null) throw malformed('a tag is an object');
  const definition = toDefinition(new Map<string, unknown>(Object.entries(parsed)));
  if (canonicalTag(definition) !== content) throw malformed('a tag whose content is not canonical');
  return definition;
}

function toDefinition(fields: ReadonlyMap<string, unknown>): TagDefinition {
  const text = (key: string): string | undefined => {
    const value = fields.get(key);
    if (value !== undefined && typeof value !== 'string') throw malformed(`a tag's ${key} is text`);
    return value;
  };
  const name = text('name');
  const type = fields.get('type');
  if (name === undefined || name === '' || !isValueType(type)) throw malformed('a tag needs a name and a known type');
  const [unit, description, location, deviceType] = [
    text('unit'),
    text('description'),
    text('location'),
    text('deviceType'),
  ];
  return {
    name,
    type,
    ...(unit !== undefined && { unit }),
    ...(description !== undefined && { description }),
    ...(location !== undefined && { location }),
    ...(deviceType !== undefined && { deviceType }),
  };
}

function isValueType(value: unknown): value is ValueType {
  return VALUE_TYPES.some((type) => type === value);
}
