/** Parts of windows that were closed already, until they are written with the next commit. */
import type { WindowRows } from './rows.ts';
import { emptyWindow, FLAG, W } from './window.ts';

export class LateParts {
  readonly #parts = new Map<string, { readonly level: number; readonly tag: number; readonly window: Float64Array }>();

  part(level: number, tag: number, startMs: number): Float64Array {
    const key = `${level} ${tag} ${startMs}`;
    let part = this.#parts.get(key);
    if (part === undefined) {
      part = { level, tag, window: emptyWindow(startMs) };
      part.window[W.flags] = FLAG.part | FLAG.time;
      this.#parts.set(key, part);
    }
    return part.window;
  }

  forget(tag: number): void {
    for (const [key, part] of this.#parts) if (part.tag === tag) this.#parts.delete(key);
  }

  moveTo(closed: readonly WindowRows[]): void {
    for (const { level, tag, window } of this.#parts.values()) closed[level]?.push(tag, window, 0);
    this.#parts.clear();
  }
}
