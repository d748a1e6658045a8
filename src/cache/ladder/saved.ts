/** What a cache file says of its ladder, for whoever opens it: the next process, or a person when there is none. */
import type { LadderState } from '../types.ts';

/** In `meta`, as JSON: the state after the last step. */
export const LADDER_META = 'ladder';

/** @param store anything with the table `meta`. Undefined when there never was a step. */
export function savedLadder(store: { meta(key: string): string | undefined }): LadderState | undefined {
  const saved = store.meta(LADDER_META);
  return saved === undefined ? undefined : JSON.parse(saved); // written by us
}
