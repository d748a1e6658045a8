/** From what zod says to findings a person can act on. */
import type { z } from 'zod';
import type { Path } from './findings.ts';
import { nearest } from './near.ts';

type Issue = z.core.$ZodIssue;

/** A finding before it has its place in the file. */
export interface Fault {
  readonly path: Path;
  readonly reason: string;
  readonly near?: string | undefined;
  /** Whether the setting's name is what is wrong. */
  readonly atKey?: boolean;
}

/** So many names still help; more of them hide the finding. */
const NAMES_SHOWN_MAX = 15;
/** How messages start that zod makes itself; others come from our schemas and say enough. */
const GENERATED = /^(Invalid|Too (small|big)|Unrecognized|Expected)/;

/**
 * @param value the whole input, to tell "missing" from "wrong".
 * @param keysAt the settings that exist at a path.
 */
export function faultsOf(
  issues: readonly Issue[],
  value: unknown,
  keysAt: (path: Path) => readonly string[],
  prefix: Path = [],
): Fault[] {
  return issues.flatMap((issue) => {
    const path = [...prefix, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))];
    const given = valueAt(value, path);
    switch (issue.code) {
      case 'unrecognized_keys':
        return issue.keys.map((key) => unknownKey([...path, key], key, keysAt(path)));
      case 'invalid_key':
        return [{ path, reason: `is no good name: ${issue.issues[0]?.message ?? issue.message}`, atKey: true }];
      case 'invalid_value':
        return [wrongChoice(path, given, issue.values)];
      case 'invalid_union': {
        if ('options' in issue && Array.isArray(issue.options)) return [wrongChoice(path, given, issue.options)];
        if (!GENERATED.test(issue.message)) return [{ path, reason: sentence(issue.message, given) }];
        const branch = likeliest(issue.errors);
        if (branch !== undefined) return faultsOf(branch, value, keysAt, path);
        const expected = issue.errors.flat().flatMap((each) => (each.code === 'invalid_type' ? [each.expected] : []));
        return [{ path, reason: typeReason([...new Set(expected)].join(' or ') || 'something else', given) }];
      }
      case 'invalid_type':
        return [
          {
            path,
            reason: GENERATED.test(issue.message) ? typeReason(issue.expected, given) : sentence(issue.message, given),
          },
        ];
      default:
        return [{ path, reason: sentence(plain(issue), given) }];
    }
  });
}

export function valueAt(value: unknown, path: Path): unknown {
  let here = value;
  for (const step of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, step)) return undefined;
    here = (here as Record<string | number, unknown>)[step];
  }
  return here;
}

function unknownKey(path: Path, key: string, known: readonly string[]): Fault {
  const near = nearest(key, known);
  const list =
    near === undefined && known.length > 0 && known.length <= NAMES_SHOWN_MAX
      ? ` (known here: ${known.join(', ')})`
      : '';
  return { path, reason: `is not a setting${list}`, near, atKey: true };
}

/** One of several constants was expected. */
export function wrongChoice(path: Path, given: unknown, choices: readonly unknown[]): Fault {
  const names = choices.map(String);
  const list = names.length > NAMES_SHOWN_MAX ? `${names.slice(0, NAMES_SHOWN_MAX).join(', ')}, …` : names.join(', ');
  const expected = names.length === 1 ? `must be ${list}` : `must be one of ${list}`;
  if (given === undefined) return { path, reason: `is missing: it ${expected}` };
  return { path, reason: expected, near: typeof given === 'string' ? nearest(given, names) : undefined };
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  object: 'settings (a map)',
  record: 'settings (a map)',
  array: 'a list',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function typeReason(expected: string, given: unknown): string {
  const wanted = expected
    .split(' or ')
    .map((type) => TYPE_NAMES[type] ?? type)
    .join(' or ');
  if (given === undefined) return `is missing: it must be ${wanted}`;
  const kind = Array.isArray(given) ? 'array' : typeof given;
  if (given === null) return `must be ${wanted}, and is empty`;
  if (kind === 'number') return `must be ${wanted}`;
  return `must be ${wanted}, not ${TYPE_NAMES[kind] ?? kind}`;
}

function plain(issue: Issue): string {
  if (!GENERATED.test(issue.message)) return issue.message;
  const of = 'origin' in issue && (issue.origin === 'string' ? ' letters' : issue.origin === 'array' ? ' entries' : '');
  if (issue.code === 'too_small')
    return `must ${of ? 'have' : 'be'} ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}${of || ''}`;
  if (issue.code === 'too_big')
    return `must ${of ? 'have' : 'be'} ${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}${of || ''}`;
  if (issue.code === 'not_multiple_of') return `must be a multiple of ${issue.divisor}`;
  return issue.message.replace(/^Invalid \w+: /, '');
}

/** Makes a message read on after the setting's path. */
function sentence(message: string, given: unknown): string {
  if (given === undefined && !/^(must|is|has|lets|needs)\b/.test(message)) return `is missing: ${message}`;
  return /^(must|is|has|lets|needs|names|cannot|can)\b/.test(message) ? message : `is wrong: ${message}`;
}

/** Of a union's branches the one that came furthest: its faults lie deepest, and there are fewest of them. */
function likeliest(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const depth = (issues: readonly Issue[]) =>
    Math.max(0, ...issues.map((issue) => issue.path.length + (issue.code === 'unrecognized_keys' ? 1 : 0)));
  const right = branches.filter(
    (issues) => !issues.some((issue) => issue.path.length === 0 && issue.code === 'invalid_type'),
  );
  return [...right].sort((a, b) => depth(b) - depth(a) || a.length - b.length)[0];
}
