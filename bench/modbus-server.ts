/** A process with modbus-serial's server. Argument: the words of its holding registers. */
import { type FCallbackVal, ServerTCP } from 'modbus-serial';
import { serve } from './script.ts';

const words = (process.argv[2] ?? '').split(',').map(Number);
const vector = {
  getMultipleHoldingRegisters(address: number, count: number, _unit: number, answer: FCallbackVal<number[]>) {
    answer(null, words.slice(address, address + count));
  },
};
// The library takes the number 0 for "not given" and listens on 502; Node takes the text for 0.
const server = new ServerTCP(vector, { host: '127.0.0.1', port: '0' as unknown as number });
server.on('socketError', () => {});
server.on('initialized', () => {
  // The library keeps its listener to itself and cannot say which free port it got.
  const { _server } = server as unknown as { _server: { address(): { port: number } } };
  serve({ port: _server.address().port }, async () => ({}));
});
