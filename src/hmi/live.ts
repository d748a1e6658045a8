/** The hot table and the registry, as the HMI looks at them. */
import type { HotTable } from '../cache/index.ts';
import type { PlainValue, TagDefinition, ValueType } from '../reading.ts';
import type { Remembered, RememberedValue } from './remembered.ts';

/** What the HMI reads: the hot table and the tag registry. */
export interface LiveView {
  tag(index: number): { readonly name: string; readonly type: ValueType; readonly unit?: string } | undefined;
  indexOf(name: string): number | undefined;
  size(): number;
  /** The quality is already stale when the value is. */
  read(index: number): { readonly value: PlainValue; readonly timeMs: number; readonly quality: number } | undefined;
  /** @param marks of the tags from this one on: become others wherever `read` answers otherwise than it did before. */
  mark(first: number, marks: Float64Array): void;
  /** False for what is past its time, and for what never came. */
  isLive(index: number): boolean;
  /** Of a tag that is not registered, and was before the start. */
  remembered?(name: string): RememberedValue | undefined;
  /** By their names. */
  allRemembered?(): Iterable<[string, RememberedValue]>;
}

interface Registry {
  readonly size: number;
  get(index: number): { readonly definition: TagDefinition } | undefined;
  byName(name: string): { readonly index: number } | undefined;
}

export function liveView(registry: Registry, hot: HotTable, remembered?: Remembered): LiveView {
  return {
    tag: (index) => registry.get(index)?.definition,
    indexOf: (name) => registry.byName(name)?.index,
    size: () => registry.size,
    read: (index) => hot.get(index),
    mark: (first, marks) => hot.mark(first, marks),
    isLive: (index) => hot.isLive(index),
    remembered: (name) => remembered?.get(name),
    allRemembered: () => remembered?.all() ?? [],
  };
}
