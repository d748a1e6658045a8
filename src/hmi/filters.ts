/** Topic filters (MQTT 3.1.1, section 4.7). */

/** Whether `topic` is one that `filter` asks for. Wildcards at the start do not reach topics that begin with `$`. */
export function matches(filter: readonly string[], topic: readonly string[]): boolean {
  const first = filter[0];
  if (topic[0]?.startsWith('$') && (first === '+' || first === '#')) return false;
  for (let at = 0; at < filter.length; at++) {
    const wanted = filter[at];
    if (wanted === '#') return true;
    const level = topic[at];
    if (level === undefined || (wanted !== '+' && wanted !== level)) return false;
  }
  return filter.length === topic.length;
}

/** Whether everything that `wanted` asks for is also asked for by `allowed`. */
export function covers(allowed: readonly string[], wanted: readonly string[]): boolean {
  for (let at = 0; at < allowed.length; at++) {
    const may = allowed[at];
    if (may === '#') return true;
    const level = wanted[at];
    if (level === undefined || level === '#') return false;
    if (may !== '+' && may !== level) return false;
  }
  return allowed.length === wanted.length;
}
