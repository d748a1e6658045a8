/**
 * The simulated plant: what its devices measure, and, since it is the plant, the truth about it. It moves only when its owner
 * calls `step`, and the same seed and number of steps give the same values. It remembers what every register showed for an
 * hour, so that an oracle can tell whether a reading is one that the device really held.
 */
import type { PlainValue } from '../reading.ts';
import { History } from './history.ts';
import { Processes, STEP_MS } from './processes.ts';
import { RegisterImage } from './registers.ts';
import { PLANT_TAGS, PLANT_UNITS } from './tags.ts';

export { SENSOR_COUNT, type SensorReading, sensorMessage, sensorReading } from './sensors.ts';
export { PLANT_TAGS, PLANT_UNITS, type PlantTag } from './tags.ts';
export { STEP_MS };

const HISTORY_MS = 3_600_000;

export class PlantModel {
  readonly #processes: Processes;
  readonly #units = new Map<number, RegisterImage>(PLANT_UNITS.map(({ unit }) => [unit, new RegisterImage()]));
  readonly #histories = new Map<string, History>(
    PLANT_TAGS.map((tag) => [keyOf(tag.unit, tag.name), new History(HISTORY_MS)]),
  );
  #steps = 0;

  constructor(options: { readonly seed: number }) {
    this.#processes = new Processes(options.seed);
    // What the registers show from the start counts as shown since ever.
    this.#show(Number.NEGATIVE_INFINITY);
  }

  get steps(): number {
    return this.#steps;
  }

  /** Moves the plant by 100 ms. @param nowMs the wall clock, for the history; never before the last one. */
  step(nowMs: number): void {
    this.#steps++;
    this.#processes.step();
    this.#show(nowMs);
  }

  /** A unit's registers as they are now; undefined for a unit the plant does not have. */
  registers(unit: number): RegisterImage | undefined {
    return this.#units.get(unit);
  }

  /** What a tag shows now, in its engineering unit; undefined for a tag the plant does not have. */
  value(unit: number, tagName: string): PlainValue | undefined {
    return this.#histories.get(keyOf(unit, tagName))?.latest;
  }

  /**
   * Whether the register held exactly this value at some time in `[fromMs, toMs]`, looking back an hour at most.
   * @param value in the engineering unit; a bigint for int64 and uint64.
   */
  held(unit: number, tagName: string, value: PlainValue, fromMs: number, toMs: number): boolean {
    return this.#histories.get(keyOf(unit, tagName))?.held(value, fromMs, toMs) ?? false;
  }

  #show(nowMs: number): void {
    const values = this.#processes.values();
    for (const tag of PLANT_TAGS) {
      const value = values[tag.name];
      if (value === undefined) throw new RangeError(`no process gives ${tag.name}`);
      this.#units.get(tag.unit)?.write(tag, value);
      this.#histories.get(keyOf(tag.unit, tag.name))?.record(value, nowMs);
    }
  }
}

function keyOf(unit: number, tagName: string): string {
  return `${unit} ${tagName}`;
}
