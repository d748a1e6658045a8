/**
 * Values from before a start, of tags of sources that tell by themselves and have not told anything since: nobody has
 * registered them yet. Shown as stale until they speak.
 */
import type { HotState } from '../cache/types.ts';
import { isBad, type PlainValue, Quality, type TagDefinition, valueReader } from '../reading.ts';

export interface RememberedValue {
  readonly definition: TagDefinition;
  readonly value: PlainValue;
  readonly timeMs: number;
  readonly quality: number;
}

export class Remembered {
  readonly #values = new Map<string, RememberedValue & { readonly id: string }>();

  /** @param tells whether a source, by its name, is one that tells. */
  constructor(state: HotState | undefined, tells: (source: string) => boolean) {
    if (state === undefined) return;
    const read = valueReader(state);
    state.definitions?.forEach((definition, row) => {
      const { name, type } = definition ?? {};
      if (definition === undefined || name === undefined || type === undefined) return;
      if (!tells(name.split('/')[0] ?? '')) return;
      const [timeMs, quality] = [state.timeMs[row] ?? 0, state.quality[row] ?? 0];
      const known = this.#values.get(name);
      // The name may have had another definition before.
      if (known !== undefined && known.timeMs > timeMs) return;
      const id = state.ids[row] ?? '';
      this.#values.set(name, {
        id,
        definition,
        value: read(row, type),
        timeMs,
        quality: isBad(quality) ? quality : Quality.stale,
      });
    });
  }

  get(name: string): RememberedValue | undefined {
    return this.#values.get(name);
  }

  all(): Iterable<[string, RememberedValue]> {
    return this.#values;
  }

  /** It speaks for itself now. @returns whether it was here. */
  drop(name: string): boolean {
    return this.#values.delete(name);
  }

  /** @param ids of tags, 32 hex digits each. @returns their names. */
  forget(ids: readonly string[]): string[] {
    const gone = [...this.#values].filter(([, { id }]) => ids.includes(id)).map(([name]) => name);
    for (const name of gone) this.#values.delete(name);
    return gone;
  }
}
