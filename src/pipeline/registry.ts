/**
 * The tags of this process: each has a dense index from 0, in order of registration, that stays what it is until the
 * process ends. Chunks carry indexes; all that is known of a tag is here once.
 *
 * A tag's identity is its definition. The same definition again is the same tag. Another definition under the same name
 * (a sensor that now sends text) is a new tag with an index of its own: readings already taken keep their meaning.
 */
import { type TagFields, tagFieldsSchema } from '../config/fields.ts';
import { type SlotKind, slotKind, type TagDefinition } from '../reading.ts';

export interface RegisteredTag {
  readonly index: number;
  readonly source: string;
  readonly definition: TagDefinition;
  readonly fields: TagFields;
  /** How often a new value is due; undefined when the tag tells by itself. */
  readonly periodMs: number | undefined;
}

/** What a tag has that says nothing about itself. */
export const DEFAULT_FIELDS: TagFields = tagFieldsSchema.parse({});

export class TagRegistry {
  readonly tagsMax: number;
  readonly #onNew: (tag: RegisteredTag) => void;
  readonly #tags: RegisteredTag[] = [];
  readonly #kinds: SlotKind[] = [];
  /** All tags that ever had this name; the last is the one in use. */
  readonly #byName = new Map<string, RegisteredTag[]>();
  #refused = 0;

  /**
   * @param tagsMax how many tags there may be, over all sources. Further ones are refused and counted: a broker that
   *   invents topics must not fill the memory.
   * @param onNew called once for each tag, before `register` returns its index.
   */
  constructor(tagsMax: number, onNew: (tag: RegisteredTag) => void) {
    this.tagsMax = tagsMax;
    this.#onNew = onNew;
  }

  get size(): number {
    return this.#tags.length;
  }

  /** How often a new tag was turned away because the registry was full. */
  get refused(): number {
    return this.#refused;
  }

  /** The tag's index; undefined when it is new and the registry is full. */
  register(
    source: string,
    definition: TagDefinition,
    fields: TagFields = DEFAULT_FIELDS,
    periodMs?: number,
  ): number | undefined {
    const namesakes = this.#byName.get(definition.name);
    const known = namesakes?.findIndex((tag) => sameDefinition(tag.definition, definition)) ?? -1;
    if (namesakes !== undefined && known >= 0) {
      const [tag] = namesakes.splice(known, 1);
      if (tag !== undefined) {
        namesakes.push(tag);
        return tag.index;
      }
    }
    if (this.#tags.length >= this.tagsMax) {
      this.#refused++;
      return undefined;
    }
    const tag: RegisteredTag = { index: this.#tags.length, source, definition, fields, periodMs };
    this.#tags.push(tag);
    this.#kinds.push(slotKind(definition.type));
    if (namesakes === undefined) this.#byName.set(definition.name, [tag]);
    else namesakes.push(tag);
    this.#onNew(tag);
    return tag.index;
  }

  get(index: number): RegisteredTag | undefined {
    return this.#tags[index];
  }

  /** The tag that has this name now: the one registered, or registered again, last. */
  byName(name: string): RegisteredTag | undefined {
    return this.#byName.get(name)?.at(-1);
  }

  /** How the value slots of a tag are to be seen. An index that does not exist is a defect of the caller. */
  kindOf(index: number): SlotKind {
    const kind = this.#kinds[index];
    if (kind === undefined) throw new RangeError(`no tag has the index ${index}`);
    return kind;
  }

  [Symbol.iterator](): IterableIterator<RegisteredTag> {
    return this.#tags.values();
  }
}

function sameDefinition(a: TagDefinition, b: TagDefinition): boolean {
  return (
    a.name === b.name &&
    a.type === b.type &&
    a.unit === b.unit &&
    a.description === b.description &&
    a.location === b.location &&
    a.deviceType === b.deviceType
  );
}
