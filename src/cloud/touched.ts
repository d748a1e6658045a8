/** Runs and classes that a batch changed: what is looked over once at its end, however many of its rows changed them. */
import type { ClassNumber } from '../wire/classes.ts';

export class Touched {
  readonly #runs = new Map<number, { run: string; classes: Set<ClassNumber> }>();

  add(id: number, run: string, cls: ClassNumber): void {
    let known = this.#runs.get(id);
    if (known === undefined) {
      known = { run, classes: new Set() };
      this.#runs.set(id, known);
    }
    known.classes.add(cls);
  }

  runs(): Iterable<[number, { readonly run: string; readonly classes: ReadonlySet<ClassNumber> }]> {
    return this.#runs;
  }
}
