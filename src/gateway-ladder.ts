/**
 * Follows the cache's degradation ladder with everything outside the cache: the uplink, the pipeline, the last values; and
 * tells people by a line in the log and an alarm. The cache tells the cloud by a control row.
 */
import type { CacheClient, HotTable } from './cache/index.ts';
import type { LadderState } from './cache/types.ts';
import { ladderText, type Pipeline, slowdownAt } from './pipeline/index.ts';
import type { Logger } from './runtime/log.ts';
import type { Uplink } from './uplink/index.ts';

const ALARM = 'storage/pressure';

export interface LadderFollowers {
  readonly cache: Pick<CacheClient, 'onLadder' | 'stats'>;
  readonly pipeline: Pick<Pipeline, 'ladder' | 'gatewayAlarm'>;
  readonly uplink: Pick<Uplink, 'press'> | undefined;
  readonly hot: Pick<HotTable, 'slowed'>;
  /** Registry indexes of the tags that are read less often when the disk fills; none before the sources are known. */
  readonly slowable: () => readonly number[];
  readonly logger: Pick<Logger, 'info' | 'warn'>;
}

export interface LadderWatch {
  /** The sources are known now. */
  sourcesKnown(): void;
}

/** Resolves when the level that the cache starts at has taken effect. */
export async function followLadder(followers: LadderFollowers): Promise<LadderWatch> {
  const { cache, pipeline, uplink, hot, slowable, logger } = followers;
  let level: LadderState['level'] = 0;
  const step = (state: LadderState) => {
    const before = level;
    if (state.level === before) return;
    level = state.level;
    pipeline.ladder(level);
    uplink?.press(level >= 1);
    hot.slowed(slowdownAt(level), slowable());
    const text = ladderText(state);
    const isUp = level > before;
    const { cause, disk, memory, age } = state;
    logger[isUp ? 'warn' : 'info']({ from: before, to: level, cause, disk, memory, age }, text);
    pipeline.gatewayAlarm(ALARM, level > 0, text, isUp);
  };
  cache.onLadder(step);
  // Steps are told in order with the answer: what it says is the latest.
  step((await cache.stats()).ladder);
  return { sourcesKnown: () => hot.slowed(slowdownAt(level), slowable()) };
}
