/**
 * Keeps small changes out of the journal. A reading is thinned (marked `THINNED`) when it differs from the last kept one
 * of its tag by less than the tag's deadband, with the same quality, and the last kept one is younger than the maximum
 * silence. So between two kept readings the value has never been further away than the deadband.
 *
 * A deadband of 0 thins exact repeats. A tag that sets no deadband keeps every reading, exact repeats too.
 *
 * While the disk fills (the degradation ladder) the deadbands of low-priority tags are `widening` times as wide. A tag that
 * sets no deadband, or one of 0, stays as it is.
 *
 * Silence is measured by the readings' own times: a chunk may bring an hour at once. A time before the last kept one (a
 * late reading, a clock set back) is always kept, and later ones are measured from there.
 */
import { type Chunk, isBad, THINNED } from '../reading.ts';
import { type TagColumns, Trait, wideSlots } from './columns.ts';

/** No quality byte: nothing of this tag was kept yet. */
const NOTHING_KEPT = 0xff;

export class Deadband {
  /** By how much the deadbands of low-priority tags are wider than set; 1 while the disk has room. */
  widening = 1;
  readonly #columns: TagColumns;
  #value = new Float64Array(0);
  #signed = new BigInt64Array(0);
  #timeMs = new Float64Array(0);
  #quality = new Uint8Array(0);

  constructor(columns: TagColumns) {
    this.#columns = columns;
  }

  /** Marks rows in place; gives back how many. */
  apply(chunk: Chunk): number {
    const { traits, maxSilenceMs } = this.#columns;
    if (this.#quality.length < traits.length) this.#grow(traits.length);
    const { length, tag, timeMs, value, quality } = chunk;
    const wide = wideSlots(value).signed;
    let thinned = 0;
    for (let row = 0; row < length; row++) {
      const index = tag[row] as number; // row < length
      const trait = traits[index] as number; // validated: registered
      if ((trait & Trait.deadband) === 0) continue;
      const at = timeMs[row] as number;
      const byte = quality[row] as number;
      const silenceMs = at - (this.#timeMs[index] as number);
      const isQuiet = byte === this.#quality[index] && silenceMs >= 0 && silenceMs < (maxSilenceMs[index] as number);
      if (isQuiet && (isBad(byte) || this.#isNear(index, trait, value, wide, row))) {
        quality[row] = byte | THINNED;
        thinned++;
        continue;
      }
      this.#quality[index] = byte;
      this.#timeMs[index] = at;
      if ((trait & Trait.wide) !== 0) this.#signed[index] = wide[row] as bigint;
      else this.#value[index] = value[row] as number;
    }
    return thinned;
  }

  #isNear(index: number, trait: number, value: Float64Array, wide: BigInt64Array, row: number): boolean {
    const set = this.#columns.deadband[index] as number;
    const deadband = (trait & Trait.low) === 0 ? set : set * this.widening;
    if ((trait & Trait.wide) === 0) {
      const change = Math.abs((value[row] as number) - (this.#value[index] as number));
      return change < deadband || change === 0;
    }
    const [now, kept] = [wide[row] as bigint, this.#signed[index] as bigint];
    const change =
      (trait & Trait.unsigned) === 0
        ? Math.abs(Number(now - kept))
        : Math.abs(Number(BigInt.asUintN(64, now) - BigInt.asUintN(64, kept)));
    return change < deadband || change === 0;
  }

  #grow(capacity: number): void {
    const value = new Float64Array(capacity);
    const signed = new BigInt64Array(value.buffer);
    signed.set(this.#signed);
    const timeMs = new Float64Array(capacity);
    timeMs.set(this.#timeMs);
    const quality = new Uint8Array(capacity).fill(NOTHING_KEPT);
    quality.set(this.#quality);
    [this.#value, this.#signed, this.#timeMs, this.#quality] = [value, signed, timeMs, quality];
  }
}
