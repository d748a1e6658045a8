/** What a reply to a read says: its data, an exception, or something that is no answer to this request. */
import { SluiceError } from '../../src/errors.ts';
import { HEADER_BYTES, type ReadFrame } from './frame.ts';

/** Application Protocol V1.1b3, chapter 7. 7 is from the older specification and still sent. */
const EXCEPTION_NAMES: Readonly<Record<number, string>> = {
  1: 'ILLEGAL FUNCTION',
  2: 'ILLEGAL DATA ADDRESS',
  3: 'ILLEGAL DATA VALUE',
  4: 'SERVER DEVICE FAILURE',
  5: 'ACKNOWLEDGE',
  6: 'SERVER DEVICE BUSY',
  7: 'NEGATIVE ACKNOWLEDGE',
  8: 'MEMORY PARITY ERROR',
  10: 'GATEWAY PATH UNAVAILABLE',
  11: 'GATEWAY TARGET DEVICE FAILED TO RESPOND',
};

const HINTS: Readonly<Record<number, string>> = {
  1: 'The device does not serve this table; check the register in its manual.',
  2: 'The device has no such register; check address and style (holding:100 is 40101).',
  3: 'The device refuses the amount or the address; check the register, or lower wordsMax.',
  4: 'The device reports a failure of its own; look at it.',
  10: 'The gateway has no way to this unit; check its routing and the unit id.',
  11: 'The unit behind the gateway does not answer; check its power, bus wiring and unit id.',
};

const EXCEPTION_BIT = 0x80;
/** Unit, function code and byte count stand before the data. */
const DATA_AT = HEADER_BYTES + 2;

/** The device (or its gateway) said no. */
export function isException(error: SluiceError): boolean {
  return error.code === 'modbus.exception';
}

/** The exception code, 0 for any other error. */
export function exceptionCode(error: SluiceError): number {
  const code = error.facts.code;
  return isException(error) && typeof code === 'number' ? code : 0;
}

/** 10 and 11 come from a gateway whose unit is silent: the unit gave no answer. */
export function isUnitSilent(code: number): boolean {
  return code === 10 || code === 11;
}

/** 2 and 3 may be the fault of one register in a merged read. */
export function isAboutRegisters(code: number): boolean {
  return code === 2 || code === 3;
}

/** 5 and 6: the device asks for time. */
export function isBusy(code: number): boolean {
  return code === 5 || code === 6;
}

/** Bytes of data that answer a read. */
export function dataBytes(request: ReadFrame): number {
  return request.functionCode <= 2 ? (request.count + 7) >> 3 : request.count * 2;
}

/** @returns where the data begins in `frame`, or why this is no usable answer. */
export function dataOf(request: ReadFrame, frame: Uint8Array, start: number, end: number): number | SluiceError {
  const unit = frame[start + 6] ?? 0;
  const functionCode = frame[start + 7] ?? 0;
  if (unit !== request.unit) return mismatch(request, 'unit', unit, request.unit);
  if (functionCode === (request.functionCode | EXCEPTION_BIT)) {
    if (end - start !== DATA_AT) return mismatch(request, 'length', end - start, DATA_AT);
    return exception(request, frame[start + 8] ?? 0);
  }
  if (functionCode !== request.functionCode) {
    return mismatch(request, 'function code', functionCode, request.functionCode);
  }
  const expected = dataBytes(request);
  const declared = frame[start + 8] ?? 0;
  if (declared !== expected) return mismatch(request, 'byte count', declared, expected);
  if (end - start !== DATA_AT + expected) return mismatch(request, 'length', end - start, DATA_AT + expected);
  return start + DATA_AT;
}

function exception(request: ReadFrame, code: number): SluiceError {
  const name = EXCEPTION_NAMES[code] ?? 'not in the standard';
  const hint = HINTS[code];
  return new SluiceError(
    'modbus.exception',
    'retry',
    `unit ${request.unit} answered exception ${code} (${name}) to ${showRequest(request)}`,
    { ...(hint === undefined ? {} : { hint }), facts: { code, name, unit: request.unit } },
  );
}

function mismatch(request: ReadFrame, what: string, got: number, expected: number): SluiceError {
  return new SluiceError(
    'modbus.reply',
    'retry',
    `the reply to ${showRequest(request)} of unit ${request.unit} has ${what} ${got} instead of ${expected}`,
    {
      hint: 'The device or a gateway mixes up its answers; check its firmware and whether another client confuses it.',
      facts: { unit: request.unit, field: what, got, expected },
    },
  );
}

/** In the words of the standard: `read of 2 holding registers from 100`. */
export function showRequest(request: ReadFrame): string {
  const things = ['coils', 'discrete inputs', 'holding registers', 'input registers'];
  return `the read of ${request.count} ${things[request.functionCode - 1] ?? ''} from ${request.address}`;
}
