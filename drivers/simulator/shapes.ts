/** The shapes of simulated tags. */
import type { ValueType } from '../../src/reading.ts';

export const SHAPES = ['sine', 'ramp', 'square', 'random-walk', 'counter', 'text'] as const;
export type Shape = (typeof SHAPES)[number];

export interface ShapeSettings {
  readonly shape: Shape;
  readonly type: ValueType;
  readonly periodMs: number;
  readonly amplitude: number;
  readonly offset: number;
  readonly step: number;
  readonly texts: readonly string[];
}

export type Generator = (timeMs: number) => { readonly value: number | bigint | string; readonly type: ValueType };

const RANGES: Partial<Record<ValueType, readonly [number, number]>> = {
  int16: [-(2 ** 15), 2 ** 15 - 1],
  uint16: [0, 2 ** 16 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  // Numbers are doubles here: exact up to 2^53.
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  uint64: [0, Number.MAX_SAFE_INTEGER],
};

/** @param random uniform in [0, 1), for random walks. */
export function makeGenerator(settings: ShapeSettings, random: () => number): Generator {
  const { type, texts, periodMs } = settings;
  if (settings.shape === 'text') {
    return (timeMs) => ({ value: texts[Math.floor(timeMs / periodMs) % texts.length] ?? '', type });
  }
  const raw = rawShape(settings, random);
  return (timeMs) => ({ value: asType(raw(timeMs), type), type });
}

function rawShape(settings: ShapeSettings, random: () => number): (timeMs: number) => number {
  const { shape, periodMs, amplitude, offset, step } = settings;
  const turn = (timeMs: number) => (timeMs % periodMs) / periodMs;
  switch (shape) {
    case 'ramp':
      return (timeMs) => offset + amplitude * (2 * turn(timeMs) - 1);
    case 'square':
      return (timeMs) => offset + (turn(timeMs) < 0.5 ? amplitude : -amplitude);
    case 'counter': {
      let count = offset - step;
      return () => {
        count += step;
        return count;
      };
    }
    case 'random-walk': {
      let at = offset;
      return () => {
        at += (2 * random() - 1) * step;
        return at;
      };
    }
    default:
      return (timeMs) => offset + amplitude * Math.sin(2 * Math.PI * turn(timeMs));
  }
}

/** As the type can hold it: rounded, and a counter at its end begins anew as a device's would. */
function asType(value: number, type: ValueType): number {
  if (type === 'bool') return value > 0 ? 1 : 0;
  if (type === 'float32') return Math.fround(value);
  const range = RANGES[type];
  if (range === undefined) return value;
  const [low, high] = range;
  const whole = Math.round(value);
  if (whole >= low && whole <= high) return whole;
  const size = high - low + 1;
  return ((((whole - low) % size) + size) % size) + low;
}
