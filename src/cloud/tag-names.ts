/**
 * Names as people write them, to tags: `line3:boiler/flow_temp`, or `boiler/flow_temp` of every gateway that has it. `*` stands
 * for any characters. A tag whose TAG row has not come yet goes by its id.
 */
import { SluiceError } from '../errors.ts';
import type { TagDefinition } from '../reading.ts';
import { parseTagContent } from '../wire/tag.ts';
import type { Catalog, TagRow } from './catalog.ts';
import type { DeviceList } from './devices.ts';

/** All tags of one gateway with one name: changed content (a new unit) is a tag of its own, but the same thing to a reader. */
export interface NamedTag {
  readonly device: string;
  readonly gateway: string;
  readonly name: string;
  /** Of the newest content; undefined while none is known. */
  readonly definition: TagDefinition | undefined;
  readonly rows: readonly TagRow[];
}

/** Any of them may have stars. */
export interface TagPattern {
  readonly gateway?: string | undefined;
  /** The part of a name before its first `/`. With it `tag` may be the part after that alone. */
  readonly source?: string | undefined;
  readonly tag: string;
}

const PAGE_TAGS = 1000;

export class TagNames {
  readonly #catalog: Catalog;
  readonly #devices: DeviceList;

  constructor(catalog: Catalog, devices: DeviceList) {
    this.#catalog = catalog;
    this.#devices = devices;
  }

  /** @throws query.not_found */
  device(gateway: string): string {
    const device = this.#devices.find(gateway);
    if (device !== undefined) return device;
    throw new SluiceError('query.not_found', 'discard', `no gateway is called ${gateway}`, {
      hint: 'GET /v1/devices lists them.',
    });
  }

  /** The name of a tag of a device, or the id of one that has none yet. @throws query.not_found */
  known(name: string, device: string): string {
    if (this.#named(name, device).length > 0) return name;
    throw notFound(name);
  }

  /**
   * Tags under a name or pattern, in order of first sight, `limit` of them after `skip`.
   * @returns `next` to skip for those that follow; null when there are none
   * @throws query.not_found for a name that no tag has, or a gateway that is not there
   */
  matching(pattern: TagPattern, limit: number, skip = 0): { tags: NamedTag[]; next: number | null } {
    const { tag, gateway, source } = pattern;
    const isPattern = source !== undefined || tag.includes('*') || gateway?.includes('*') === true;
    const tags = isPattern ? this.#like(pattern) : this.#exactly(tag, gateway);
    if (!isPattern && tags.length === 0) throw notFound(tag);
    return { tags: tags.slice(skip, skip + limit), next: tags.length > skip + limit ? skip + limit : null };
  }

  #like({ tag, gateway, source }: TagPattern): NamedTag[] {
    const device = gateway === undefined || gateway.includes('*') ? undefined : this.device(gateway);
    const matched: TagRow[] = [];
    for (let after = 0; ; ) {
      const page = this.#catalog.tags(after, PAGE_TAGS, device);
      for (const row of page) {
        const of = this.#devices.nameOf(row.device);
        if (gateway !== undefined && device === undefined && !matches(gateway, of)) continue;
        if (matchesName(tag, source, row.name ?? row.tag, of)) matched.push(row);
      }
      after = page.at(-1)?.id ?? after;
      if (page.length < PAGE_TAGS) break;
    }
    return this.#grouped(matched);
  }

  #exactly(text: string, gateway: string | undefined): NamedTag[] {
    if (gateway !== undefined) return this.#named(text, this.device(gateway));
    // A source may have a colon in its name, so the part before the first one need not be a gateway.
    const colon = text.indexOf(':');
    const device = colon > 0 ? this.#devices.find(text.slice(0, colon)) : undefined;
    const withGateway = device === undefined ? [] : this.#named(text.slice(colon + 1), device);
    return withGateway.length > 0 ? withGateway : this.#named(text, undefined);
  }

  #named(name: string, device: string | undefined): NamedTag[] {
    const rows = this.#catalog.tagsNamed(name, device);
    if (rows.length > 0) return this.#grouped(rows);
    return this.#grouped(this.#catalog.tagById(name, device).filter((row) => row.name === null));
  }

  #grouped(rows: readonly TagRow[]): NamedTag[] {
    const groups = new Map<string, TagRow[]>();
    for (const row of rows) {
      const key = `${row.device}:${row.name ?? row.tag}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [row]);
      else group.push(row);
    }
    return [...groups.values()].flatMap((group) => {
      const newest = group.at(-1);
      if (newest === undefined) return [];
      const definition = newest.content === null ? undefined : parseTagContent(newest.content);
      const { device, name, tag } = newest;
      return [{ device, gateway: this.#devices.nameOf(device), name: name ?? tag, definition, rows: group }];
    });
  }
}

function notFound(text: string): SluiceError {
  return new SluiceError('query.not_found', 'discard', `nothing was received of a tag called ${text}`, {
    hint: 'GET /v1/latest?tag=* lists what there is.',
  });
}

function matchesName(tag: string, source: string | undefined, name: string, gateway: string): boolean {
  const slash = name.indexOf('/');
  if (source !== undefined) {
    if (slash < 0 || !matches(source, name.slice(0, slash))) return false;
    if (matches(tag, name.slice(slash + 1))) return true;
  }
  return matches(tag, name) || matches(tag, `${gateway}:${name}`);
}

/** `*` stands for any characters; linear in the text for each star, whatever the pattern. */
export function matches(pattern: string, text: string): boolean {
  const parts = pattern.split('*');
  const first = parts.shift() ?? '';
  const last = parts.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false;
  let at = first.length;
  for (const part of parts) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > text.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}
