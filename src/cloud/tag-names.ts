/**
 * Names as people write them, to tags: `line3:boiler/flow_temp`, or `boiler/flow_temp` where one gateway has it. `*` stands for
 * any characters. A tag whose TAG row has not come yet goes by its id.
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

  /** @throws query.not_found, query.ambiguous when several gateways have it */
  one(text: string, gateway: string | undefined): NamedTag {
    const found = this.#exactly(text, gateway);
    const [first, second] = found;
    if (first === undefined) throw notFound(text);
    if (second === undefined) return first;
    const names = found.slice(0, 5).map((tag) => `${tag.gateway}:${tag.name}`);
    throw new SluiceError('query.ambiguous', 'discard', `several gateways have ${text}`, {
      hint: `Say which: ${names.join(', ')}.`,
    });
  }

  /** Up to `limit` tags under a name or pattern. @throws query.not_found for a name that no tag has */
  matching(pattern: string, gateway: string | undefined, limit: number): { tags: NamedTag[]; truncated: boolean } {
    if (!pattern.includes('*')) {
      const tags = this.#exactly(pattern, gateway);
      if (tags.length === 0) throw notFound(pattern);
      return { tags: tags.slice(0, limit), truncated: tags.length > limit };
    }
    const device = gateway === undefined ? undefined : this.device(gateway);
    const matched: TagRow[] = [];
    for (let after = 0; ; ) {
      const page = this.#catalog.tags(after, PAGE_TAGS, device);
      for (const row of page) {
        const name = row.name ?? row.tag;
        if (matches(pattern, name) || matches(pattern, `${this.#devices.nameOf(row.device)}:${name}`))
          matched.push(row);
      }
      after = page.at(-1)?.id ?? after;
      if (page.length < PAGE_TAGS) break;
    }
    const tags = this.#grouped(matched);
    return { tags: tags.slice(0, limit), truncated: tags.length > limit };
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
