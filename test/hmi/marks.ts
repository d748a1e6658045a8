import type { LiveView } from '../../src/hmi/live.ts';

/** `mark` of a view whose readings are objects: another object, another mark. */
export function markedBy(read: LiveView['read']): LiveView['mark'] {
  const numbers = new WeakMap<object, number>();
  let next = 1;
  return (first, marks) => {
    for (let at = 0; at < marks.length; at++) {
      const reading = read(first + at);
      if (reading !== undefined && !numbers.has(reading)) numbers.set(reading, next++);
      marks[at] = reading === undefined ? 0 : (numbers.get(reading) ?? 0);
    }
  };
}
