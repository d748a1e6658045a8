/** A YAML file as values that know where they stood: every finding can name its line and column. */
import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml';
import type { Path } from './findings.ts';

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface YamlFault extends Place {
  readonly reason: string;
}

/** What a string becomes; a throw is a finding at its place. */
export type StringReplacer = (text: string, path: Path) => string;

export class YamlText {
  /** Syntax errors and duplicate keys. */
  readonly faults: readonly YamlFault[];
  readonly #document: Document.Parsed;
  readonly #lines = new LineCounter();

  constructor(text: string) {
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      merge: true,
      uniqueKeys: true,
    });
    const problems = [...this.#document.errors, ...this.#document.warnings];
    this.faults = problems.map((problem) => ({
      ...this.#placeOf(problem.pos[0]),
      reason:
        problem.code === 'DUPLICATE_KEY' ? 'the same setting stands here twice' : `is not YAML: ${problem.message}`,
    }));
  }

  /** Whether the text can be taken as values although it has faults: a duplicate key does not hide the rest. */
  get readable(): boolean {
    return this.#document.errors.every((error) => error.code === 'DUPLICATE_KEY');
  }

  /** Passes every string value (no keys) through `replace`; gives back what could not be replaced. */
  replaceStrings(replace: StringReplacer): { path: Path; thrown: unknown }[] {
    const failed: { path: Path; thrown: unknown }[] = [];
    visit(this.#document, {
      Scalar: (key, node, ancestors) => {
        if (key === 'key' || typeof node.value !== 'string') return;
        const path = pathOf([...ancestors, node]);
        try {
          node.value = replace(node.value, path);
        } catch (thrown) {
          failed.push({ path, thrown });
        }
      },
    });
    return failed;
  }

  /** Plain JavaScript values. Throws when aliases unfold to far more than the text (a "billion laughs"). */
  toValue(): unknown {
    return this.#document.toJS();
  }

  /** Where a setting stands: its key, or its value. A path that does not exist is placed where its parent stands. */
  place(path: Path, part: 'key' | 'value' = 'value'): Place {
    let node: unknown = this.#document.contents;
    let offset = offsetOf(node) ?? 0;
    for (const [at, step] of path.entries()) {
      if (isAlias(node)) node = node.resolve(this.#document);
      const child = childOf(node, step);
      if (child === undefined) break;
      const wantKey = part === 'key' && at === path.length - 1;
      offset = (wantKey ? undefined : offsetOf(child.value)) ?? offsetOf(child.key) ?? offset;
      // A block collection starts at its first entry; the key above it says more.
      const missingBelow = at < path.length - 1 && childOf(child.value, path[at + 1] ?? '') === undefined;
      if ((missingBelow || isMap(child.value) || isSeq(child.value)) && child.key !== undefined) {
        offset = offsetOf(child.key) ?? offset;
      }
      node = child.value;
    }
    return this.#placeOf(offset);
  }

  /** The paths below `within` where `key` has the value `value`, in the order of the file. */
  find(within: Path, key: string, value: string): Path[] {
    const found: Path[] = [];
    visit(this.#document, {
      Pair: (_, pair, ancestors) => {
        if (!isScalar(pair.key) || pair.key.value !== key || !isScalar(pair.value) || pair.value.value !== value)
          return;
        const path = pathOf([...ancestors, pair]);
        if (within.every((step, i) => step === path[i])) found.push(path);
      },
    });
    return found;
  }

  #placeOf(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }
}

function offsetOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}

function childOf(node: unknown, step: string | number): { key: unknown; value: unknown } | undefined {
  if (isMap(node)) {
    const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
    return pair && { key: pair.key, value: pair.value };
  }
  if (isSeq(node) && typeof step === 'number' && step < node.items.length)
    return { key: undefined, value: node.items[step] };
  return undefined;
}

/** From the ancestors that `visit` reports to keys and positions. */
function pathOf(nodes: readonly unknown[]): Path {
  const path: (string | number)[] = [];
  for (const [at, node] of nodes.entries()) {
    if (isPair(node)) path.push(isScalar(node.key) ? String(node.key.value) : '?');
    if (isSeq(node)) path.push(node.items.indexOf(nodes[at + 1]));
  }
  return path;
}
