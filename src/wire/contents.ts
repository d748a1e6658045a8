/** The last checks on a batch: every section decodes to exactly its rows, and all of it adds up. */
import { codeOf, SluiceError } from '../errors.ts';
import { type BlockColumns, type BlockLimits, decodeBlock } from './block.ts';
import { hex } from './bytes.ts';
import { cellsMax, rangesOf } from './columns.ts';
import type { Payload, Section } from './payload.ts';
import { count, intersect, type RangeSet, union } from './ranges.ts';
import { decodeRecords } from './records.ts';

export type SectionContent =
  | { readonly kind: 'readings'; readonly columns: BlockColumns; readonly ranges: RangeSet }
  | { readonly kind: 'records'; readonly n0: number; readonly records: readonly unknown[]; readonly ranges: RangeSet };

/** Names of refusals by the code of what was thrown below. */
const NAMES: Readonly<Record<string, string>> = {
  'block.version_unknown': 'block_version_unknown',
  'block.checksum': 'block_checksum',
  'block.rows_too_many': 'rows_mismatch',
  'block.number_too_large': 'number_too_large',
  'records.version_unknown': 'records_version_unknown',
  'records.checksum': 'records_checksum',
  'records.rows_too_many': 'rows_mismatch',
};

/** @throws envelope.rows_mismatch, ranges_overlap, tag_outside_dictionary, number_too_large, block_…, records_… */
export function openContents(payload: Payload, rows: number): SectionContent[] {
  const tagCount = payload.dictionary.baseCount + payload.dictionary.added.length;
  const seen = new Map<string, RangeSet>();
  let left = rows;
  // Over all sections: many small blocks shall claim no more than one large one.
  let cells = cellsMax(rows);
  const contents = payload.sections.map((section) => {
    const content = openSection(section, { rowsMax: left, cellsMax: cells }, tagCount);
    const key = `${hex(section.run)}/${section.class}`;
    const held = seen.get(key) ?? [];
    if (intersect(held, content.ranges).length > 0) throw refusal('ranges_overlap', 'a row is there twice');
    seen.set(key, union(held, content.ranges));
    left -= count(content.ranges);
    if (content.kind === 'readings') cells -= content.columns.tags.length * content.columns.chunks.length;
    return content;
  });
  if (left !== 0) throw refusal('rows_mismatch', `${rows - left} rows, ${rows} announced`);
  return contents;
}

function openSection({ body }: Section, limits: Required<BlockLimits>, tagCount: number): SectionContent {
  try {
    if (body.kind === 'records') {
      const records = decodeRecords(body.bytes, limits);
      if (records.length !== body.count) throw refusal('rows_mismatch', 'records do not match their count');
      return { kind: 'records', n0: body.n0, records, ranges: [{ from: body.n0, to: body.n0 + body.count - 1 }] };
    }
    const columns = decodeBlock(body.block, limits);
    const last = columns.tags.at(-1);
    if (last !== undefined && last.tag >= tagCount) {
      throw refusal('tag_outside_dictionary', `tag ${last.tag} of ${tagCount}`);
    }
    return { kind: 'readings', columns, ranges: rangesOf(columns) };
  } catch (cause) {
    const code = codeOf(cause);
    if (code.startsWith('envelope.')) throw cause;
    const otherwise = body.kind === 'records' ? 'records_malformed' : 'block_malformed';
    throw refusal(NAMES[code] ?? otherwise, cause instanceof Error ? cause.message : otherwise, cause);
  }
}

function refusal(name: string, message: string, cause?: unknown): SluiceError {
  return new SluiceError(`envelope.${name}`, 'discard', message, { cause });
}
