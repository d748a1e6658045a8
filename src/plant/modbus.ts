/** The simulated plant's Modbus TCP server: three units behind one port, as behind a gateway. Read only. */
import { type FCallbackVal, ServerTCP } from 'modbus-serial';
import type { PlantModel } from './model.ts';
import type { PlantTable, RegisterImage } from './registers.ts';

export interface ModbusPlantOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly model: PlantModel;
}

export interface ModbusPlant {
  readonly port: number;
  /** Idempotent. */
  close(): Promise<void>;
}

const ILLEGAL_DATA_ADDRESS = 2;
const GATEWAY_TARGET_SILENT = 11;

/** What the library takes as a refusal: the code becomes the exception. */
class Exception extends Error {
  readonly modbusErrorCode: number;
  constructor(code: number) {
    super(`exception ${code}`);
    this.modbusErrorCode = code;
  }
}

/** @throws Node's listen error, EADDRINUSE for one. */
export async function startModbusPlant({ host, port, model }: ModbusPlantOptions): Promise<ModbusPlant> {
  const server = new ServerTCP(vectorOf(model), {
    host,
    // The library takes the number 0 for "not given" and listens on 502; Node takes the text for 0.
    port: port === 0 ? ('0' as unknown as number) : port,
  });
  server.on('socketError', () => {});
  await new Promise<void>((resolve, reject) => {
    server.on('initialized', () => resolve());
    server.on('serverError', (error) => reject(error ?? new Error('the server did not start')));
  });
  let closing: Promise<void> | undefined;
  return {
    port: portOf(server),
    close: () => {
      closing ??= new Promise((resolve) => server.close(() => resolve()));
      return closing;
    },
  };
}

function vectorOf(model: PlantModel) {
  // Several registers are taken in one call, so that a value of four is never half old and half new.
  const many =
    (table: 'input' | 'holding') =>
    (address: number, count: number, unit: number, answer: FCallbackVal<number[]>): void => {
      const image = model.registers(unit);
      const error = refusal(image, table, address, count);
      if (error !== undefined || image === undefined) answer(error ?? null, []);
      else answer(null, [...image[table].subarray(address, address + count)]);
    };
  const one =
    (table: 'input' | 'holding') =>
    (address: number, unit: number, answer: FCallbackVal<number>): void => {
      const image = model.registers(unit);
      answer(refusal(image, table, address, 1) ?? null, image?.[table][address] ?? 0);
    };
  const bit =
    (table: 'coil' | 'discrete') =>
    (address: number, unit: number, answer: FCallbackVal<boolean>): void => {
      const image = model.registers(unit);
      answer(refusal(image, table, address, 1) ?? null, image?.[table][address] === 1);
    };
  return {
    getMultipleHoldingRegisters: many('holding'),
    getMultipleInputRegisters: many('input'),
    getHoldingRegister: one('holding'),
    getInputRegister: one('input'),
    getCoil: bit('coil'),
    getDiscreteInput: bit('discrete'),
  };
}

function refusal(
  image: RegisterImage | undefined,
  table: PlantTable,
  address: number,
  count: number,
): Error | undefined {
  if (image === undefined) return new Exception(GATEWAY_TARGET_SILENT);
  return address + count > image[table].length ? new Exception(ILLEGAL_DATA_ADDRESS) : undefined;
}

/** The library keeps its listener to itself and cannot say which free port it got. */
function portOf(server: ServerTCP): number {
  // Part of the object since version 1; a test holds it.
  const { _server } = server as unknown as { _server: { address(): { port: number } } };
  return _server.address().port;
}
