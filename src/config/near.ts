/** "Did you mean …": the nearest known word to one that is not. */

/** A typo changes about one letter in three at most; further away it is another word. */
const LETTERS_PER_TYPO = 3;
/** Longer input is no mistyped setting, and the comparison is quadratic. */
const LETTERS_MAX = 64;

/** Damerau-Levenshtein distance (optimal string alignment): insert, delete, replace, or swap two neighbours. */
export function distance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (above[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (before[j - 2] ?? 0) + 1);
      row.push(best);
    }
    before = above;
    above = row;
  }
  return above[b.length] ?? 0;
}

/** The known word nearest to `word`, or undefined when none is near. Letter case is not a difference. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  if (word.length > LETTERS_MAX) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / LETTERS_PER_TYPO)) + 1;
  for (const candidate of known) {
    if (candidate.length > LETTERS_MAX) continue;
    const [typed, meant] = [word.toLowerCase(), candidate.toLowerCase()];
    // Of equally near words the one with the same letters: uint46 is a swapped uint64, not a uint16.
    const far = distance(typed, meant) - (sameLetters(typed, meant) ? 0.5 : 0);
    if (far < bestDistance) [best, bestDistance] = [candidate, far];
  }
  return best;
}

function sameLetters(a: string, b: string): boolean {
  return a.length === b.length && [...a].sort().join('') === [...b].sort().join('');
}
