/** The hot table and the registry, as the HMI looks at them. */
import type { HotTable } from '../cache/index.ts';
import type { TagDefinition } from '../reading.ts';
import type { LiveView } from './index.ts';

interface Registry {
  readonly size: number;
  get(index: number): { readonly definition: TagDefinition } | undefined;
  byName(name: string): { readonly index: number } | undefined;
}

export function liveView(registry: Registry, hot: HotTable): LiveView {
  return {
    tag: (index) => registry.get(index)?.definition,
    indexOf: (name) => registry.byName(name)?.index,
    size: () => registry.size,
    read: (index) => hot.get(index),
    isLive: (index) => hot.isLive(index),
  };
}
