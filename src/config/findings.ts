/** What is wrong with a config, each thing by itself: where, which value, why, and what was probably meant. */
import { relative } from 'node:path';
import { SluiceError } from '../errors.ts';

export type Path = readonly (string | number)[];

export interface Finding {
  /** `sources.boiler.units[0].every`; empty for the file as a whole. */
  readonly path: string;
  /** The value that was found, as JSON has it; absent when nothing was there, `[secret]` in place of a secret. */
  readonly value?: unknown;
  /** Reads on after the path: `is not a setting`. */
  readonly reason: string;
  /** What was probably meant. */
  readonly near?: string;
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export function pathText(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    const plain = /^[\p{L}\p{N}_-]+$/u.test(step) ? step : JSON.stringify(step);
    return text === '' ? plain : `${text}.${plain}`;
  }, '');
}

const VALUE_LETTERS_MAX = 60;

/** One finding as one line: `sluice.yaml:12:5: sources.boiler.transprot is not a setting; did you mean transport?` */
export function formatFinding(finding: Finding, folder = process.cwd()): string {
  const file = relative(folder, finding.file);
  const place = `${file.startsWith('..') ? finding.file : file}:${finding.line}:${finding.column}`;
  const scalar = typeof finding.value !== 'object' && finding.value !== undefined;
  const json = scalar ? JSON.stringify(finding.value) : '';
  const value = json.length > VALUE_LETTERS_MAX ? `${json.slice(0, VALUE_LETTERS_MAX)}…` : json;
  const subject = [finding.path, value && `(${value})`].filter(Boolean).join(' ');
  const near = finding.near === undefined ? '' : `; did you mean ${finding.near}?`;
  return `${place}: ${subject === '' ? '' : `${subject} `}${finding.reason}${near}`;
}

/** Thrown when a config cannot be used. `code` is `config.invalid`; the command line exits with 2. */
export class ConfigInvalid extends SluiceError {
  readonly findings: readonly Finding[];

  constructor(findings: readonly Finding[]) {
    const lines = findings.map((finding) => formatFinding(finding));
    super(
      'config.invalid',
      'stop',
      `the config has ${findings.length === 1 ? 'one fault' : `${findings.length} faults`}:\n${lines.join('\n')}`,
      {
        hint: 'correct the lines named, then try it with `sluice check`',
      },
    );
    this.findings = findings;
  }
}

/** The findings that an error carries; none when it is another error. */
export function findingsOf(error: unknown): readonly Finding[] {
  return error instanceof ConfigInvalid ? error.findings : [];
}
