/**
 * Register addresses as people write them. Two styles name the same register and may be mixed, since neither can be
 * taken for the other:
 *
 * | style                                    | example                    | counts from |
 * | table and protocol address               | holding:100, holding:0x64  | 0, as on the wire (Application Protocol V1.1b3, 4.4) |
 * | table digit and register number (Modicon)| 40101, 400101              | 1 |
 *
 * A bare number of any other shape, such as 100, could be either and is refused.
 */

export const TABLES = ['coil', 'discrete', 'input', 'holding'] as const;
export type Table = (typeof TABLES)[number];

export interface RegisterAddress {
  readonly table: Table;
  /** Protocol address, from 0. */
  readonly address: number;
}

export const ADDRESS_MAX = 65_535;

/** Whether a table holds single bits instead of 16-bit registers. */
export function isBitTable(table: Table): boolean {
  return table === 'coil' || table === 'discrete';
}

/** The data sheet's leading digit. */
const TABLE_OF_DIGIT: Readonly<Record<string, Table>> = { 0: 'coil', 1: 'discrete', 3: 'input', 4: 'holding' };

const PROTOCOL_STYLE = /^\s*([a-z]+)\s*:\s*(\d+|0x[0-9a-f]+)\s*$/i;
const MODICON_STYLE = /^\s*(\d)(\d{4}|\d{5})\s*$/;

/** @returns the address, or what is wrong with it as the rest of a sentence about the setting. */
export function parseRegister(input: string | number): RegisterAddress | { readonly problem: string } {
  const text = String(input);
  const protocol = PROTOCOL_STYLE.exec(text);
  if (protocol !== null) return inProtocolStyle(text, protocol[1] ?? '', protocol[2] ?? '');
  const modicon = MODICON_STYLE.exec(text);
  if (modicon !== null) return inModiconStyle(text, modicon[1] ?? '', Number(modicon[2]));
  return { problem: whyNot(input) };
}

function inProtocolStyle(text: string, tableName: string, digits: string): ReturnType<typeof parseRegister> {
  const table = TABLES.find((known) => known === tableName.toLowerCase());
  if (table === undefined) return { problem: `${text}: there is no table ${tableName}; use ${TABLES.join(', ')}` };
  const address = Number(digits);
  if (address > ADDRESS_MAX) return { problem: `${text}: protocol addresses end at ${ADDRESS_MAX}` };
  return { table, address };
}

function inModiconStyle(text: string, digit: string, number: number): ReturnType<typeof parseRegister> {
  const table = TABLE_OF_DIGIT[digit];
  if (table === undefined) {
    return { problem: `${text}: register numbers begin with 0 (coil), 1 (discrete), 3 (input) or 4 (holding)` };
  }
  if (number === 0) return { problem: `${text}: register numbers count from 1; protocol address 0 is ${table}:0` };
  if (number > ADDRESS_MAX + 1) return { problem: `${text}: register numbers end at ${ADDRESS_MAX + 1}` };
  return { table, address: number - 1 };
}

function whyNot(input: string | number): string {
  const number = typeof input === 'number' ? input : Number(input.trim() || Number.NaN);
  if (!Number.isInteger(number) || number < 0) {
    return `${input} is no register; write table:address from 0 (holding:100) or the register number (40101)`;
  }
  const either = `holding:${number} (protocol address, from 0) or ${400_000 + number} (register number, from 1)`;
  // YAML drops leading zeros of a plain number, which only coils have.
  const coil = typeof input === 'number' && number > 0 && number <= 9_999;
  const quoted = `'${String(number).padStart(5, '0')}'`;
  return coil
    ? `${number} names no table: write ${either}. For a coil put the register number in quotes, ${quoted}, ` +
        `or write coil:${number - 1}: YAML reads ${quoted.slice(1, -1)} without quotes as ${number}`
    : `${number} names no table: write ${number <= ADDRESS_MAX ? either : 'holding:0 … holding:65535 or 40001 … 465536'}`;
}

/** In the style of the wire, for messages. */
export function showRegister(register: RegisterAddress): string {
  return `${register.table}:${register.address}`;
}
