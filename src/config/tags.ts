/** What no schema of one tag can see: names used twice, limits that contradict each other or the type. */
import type { PreparedSource, TagPlan } from '../driver.ts';
import { slotKind } from '../reading.ts';
import { tagName } from './fields.ts';

/** A fault of a tag, by the tag's name; `repeated` means its second and later places. */
export interface TagFault {
  readonly tag: string;
  /** The setting within the tag. */
  readonly setting: string;
  readonly reason: string;
  readonly repeated?: boolean;
}

export function checkTags(source: PreparedSource): TagFault[] {
  const faults: TagFault[] = [];
  const names = new Set<string>();
  for (const tag of source.groups.flatMap((group) => group.tags)) {
    if (names.has(tag.name))
      faults.push({
        tag: tag.name,
        setting: 'name',
        reason: 'names a second tag of this source like this',
        repeated: true,
      });
    names.add(tag.name);
    const good = tagName().safeParse(tag.name);
    if (!good.success)
      faults.push({ tag: tag.name, setting: 'name', reason: `is no good tag name: ${good.error.issues[0]?.message}` });
    faults.push(...checkFields(tag).map((fault) => ({ tag: tag.name, ...fault })));
  }
  return faults;
}

function checkFields({ type, fields }: TagPlan<unknown>): Omit<TagFault, 'tag'>[] {
  const faults: Omit<TagFault, 'tag'>[] = [];
  const { min, max, deadband, alarm } = fields;
  const kind = slotKind(type);
  if (kind === 'text' || kind === 'bool') {
    const numeric = Object.entries({ min, max, deadband, alarm }).filter(([, value]) => value !== undefined);
    for (const [setting] of numeric) faults.push({ setting, reason: `has no meaning for a tag of type ${type}` });
    return faults;
  }
  if (min !== undefined && max !== undefined && min > max)
    faults.push({ setting: 'min', reason: `is ${min}, above max, which is ${max}` });
  const { hi, lo } = alarm ?? {};
  if (hi !== undefined && lo !== undefined && lo.limit >= hi.limit) {
    faults.push({ setting: 'alarm', reason: `has lo ${lo.limit} not below hi ${hi.limit}` });
  }
  if (hi !== undefined && max !== undefined && hi.limit >= max) {
    faults.push({
      setting: 'alarm',
      reason: `has hi ${hi.limit} not below max ${max}: such a value is rejected and never raises it`,
    });
  }
  if (lo !== undefined && min !== undefined && lo.limit <= min) {
    faults.push({
      setting: 'alarm',
      reason: `has lo ${lo.limit} not above min ${min}: such a value is rejected and never raises it`,
    });
  }
  return faults;
}

/** A copy of a source's settings in which no list has an entry with this name; undefined when none had. */
export function withoutTag(settings: unknown, name: string): unknown {
  let isFound = false;
  const walk = (node: unknown): unknown => {
    if (Array.isArray(node)) {
      const others = node.filter((each) => typeof each !== 'object' || each === null || each.name !== name);
      if (others.length < node.length) isFound = true;
      return others.map(walk);
    }
    if (typeof node !== 'object' || node === null) return node;
    return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, walk(child)]));
  };
  const smaller = walk(settings);
  return isFound ? smaller : undefined;
}
