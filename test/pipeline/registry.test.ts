import { describe, expect, test } from '@jest/globals';
import { type RegisteredTag, TagRegistry } from '../../src/pipeline/registry.ts';
import type { TagDefinition } from '../../src/reading.ts';

const flow: TagDefinition = { name: 'boiler/flow', type: 'float32', unit: 'l/h' };

function registry(tagsMax = 100) {
  const seen: RegisteredTag[] = [];
  return { seen, tags: new TagRegistry(tagsMax, (tag) => seen.push(tag)) };
}

describe('tag registry', () => {
  test('gives dense indexes in order of registration and tells of each new tag once', () => {
    const { tags, seen } = registry();
    expect(tags.register('boiler', flow)).toBe(0);
    expect(tags.register('boiler', { name: 'boiler/count', type: 'uint64' }, undefined, 1000)).toBe(1);
    expect(tags.register('boiler', { ...flow })).toBe(0);
    expect(seen.map((tag) => tag.index)).toEqual([0, 1]);
    expect(tags.size).toBe(2);
    expect(tags.get(1)).toMatchObject({ source: 'boiler', periodMs: 1000, fields: { priority: 'normal' } });
    expect([tags.kindOf(0), tags.kindOf(1)]).toEqual(['number', 'uint64']);
    expect([...tags].map((tag) => tag.definition.name)).toEqual(['boiler/flow', 'boiler/count']);
  });

  test('a name that comes back with another definition is a new tag, and the old index keeps its meaning', () => {
    const { tags } = registry();
    tags.register('boiler', flow);
    expect(tags.register('boiler', { ...flow, type: 'text' })).toBe(1);
    expect(tags.get(0)?.definition.type).toBe('float32');
    expect(tags.byName('boiler/flow')?.index).toBe(1);
    expect(tags.register('boiler', flow)).toBe(0);
    expect(tags.byName('boiler/flow')?.index).toBe(0);
  });

  test('refuses and counts new tags when it is full, and still knows the old ones', () => {
    const { tags, seen } = registry(1);
    tags.register('boiler', flow);
    expect(tags.register('boiler', { name: 'boiler/more', type: 'bool' })).toBeUndefined();
    expect(tags.register('boiler', { ...flow, unit: 'm3/h' })).toBeUndefined();
    expect(tags.register('boiler', flow)).toBe(0);
    expect([tags.refused, seen.length]).toEqual([2, 1]);
    expect(() => tags.kindOf(7)).toThrow(RangeError);
  });
});
