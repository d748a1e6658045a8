/** Topic filters and tag names made of topics (MQTT 3.1.1, section 4.7). */

/** @returns what is wrong with the filter, or undefined. */
export function filterFault(filter: string): string | undefined {
  if (filter === '' || Buffer.byteLength(filter) > 65_535) return 'a topic filter has 1 to 65535 bytes';
  if (filter.includes('\0')) return 'a topic filter holds no NUL';
  const levels = filter.split('/');
  for (const [at, level] of levels.entries()) {
    if (level.includes('#') && (level !== '#' || at !== levels.length - 1)) return '# must be the whole last level';
    if (level.includes('+') && level !== '+') return '+ must be a whole level';
  }
  return undefined;
}

export function wildcardsOf(filter: string): number {
  return filter.split('/').filter((level) => level === '+' || level === '#').length;
}

/**
 * What the wildcards of `filter` stand for in `topic`, in order (`#` may stand for several levels, or for none: then it is
 * empty), or undefined where it does not match. Wildcards at the start do not match topics that begin with `$`.
 */
export function matchTopic(filter: readonly string[], topic: string): string[] | undefined {
  const levels = topic.split('/');
  const first = filter[0];
  if (topic.startsWith('$') && (first === '+' || first === '#')) return undefined;
  const captures: string[] = [];
  for (const [at, wanted] of filter.entries()) {
    if (wanted === '#') {
      captures.push(levels.slice(at).join('/'));
      return captures;
    }
    const level = levels[at];
    if (level === undefined) return undefined;
    if (wanted === '+') captures.push(level);
    else if (wanted !== level) return undefined;
  }
  return levels.length === filter.length ? captures : undefined;
}

/** What a tag template can name, besides the numbers of wildcards. */
export interface TagWords {
  readonly topic: string;
  readonly captures: readonly string[];
  readonly field: string;
  readonly name: string;
}

const PLACEHOLDER = /\{([^{}]*)\}/g;

/** The placeholders of a template: `{1}` is the first wildcard's match, then `{topic}`, `{field}`, `{name}`. */
export function placeholdersOf(template: string): string[] {
  return [...template.matchAll(PLACEHOLDER)].map((match) => match[1] ?? '');
}

export function fillTemplate(template: string, words: TagWords): string {
  return template.replace(PLACEHOLDER, (_, word: string) => {
    if (word === 'topic') return words.topic;
    if (word === 'field') return words.field;
    if (word === 'name') return words.name;
    return words.captures[Number(word) - 1] ?? '';
  });
}
