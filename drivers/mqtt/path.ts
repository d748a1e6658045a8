/**
 * The small part of JSONPath (RFC 9535) that a configuration needs: `$` is the whole message, `@` the element of `each`
 * that is being read, then `.key`, `['key']` and `[index]`.
 */
export interface JsonPath {
  readonly text: string;
  /** Starts at the element of `each`, not at the message. */
  readonly relative: boolean;
  readonly steps: readonly (string | number)[];
}

const STEP = /\.([^.[\]'"\s]+)|\[(\d{1,6})\]|\['([^'\\]+)'\]/y;

/** @returns undefined when the text is no path. */
export function compilePath(text: string): JsonPath | undefined {
  if (text[0] !== '$' && text[0] !== '@') return undefined;
  const steps: (string | number)[] = [];
  STEP.lastIndex = 1;
  while (STEP.lastIndex < text.length) {
    const match = STEP.exec(text);
    if (match === null) return undefined;
    const [, dotted, index, quoted] = match;
    const step = index === undefined ? (dotted ?? quoted ?? '') : Number(index);
    if (step === '__proto__') return undefined;
    steps.push(step);
  }
  return { text, relative: text[0] === '@', steps };
}

/** @returns undefined where the path leads nowhere. Only own properties count: `$.toString` is not there. */
export function valueAt(path: JsonPath, message: unknown, element: unknown): unknown {
  let at: unknown = path.relative ? element : message;
  for (const step of path.steps) {
    if (typeof at !== 'object' || at === null) return undefined;
    if (typeof step === 'number') {
      if (!Array.isArray(at)) return undefined;
      at = at[step];
    } else {
      if (!Object.hasOwn(at, step)) return undefined;
      // An own property by its name: what JSON.parse made holds nothing but plain values.
      at = (at as Readonly<Record<string, unknown>>)[step];
    }
  }
  return at;
}
