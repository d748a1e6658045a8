// Tests against outside software (mosquitto, mbpoll, libmodbus, pymodbus …), which a fresh machine does not have.
import base from './jest.config.mjs';

/** @type {import('jest').Config} */
export default {
  ...base,
  testMatch: ['<rootDir>/test/peers/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  // Starting a peer (a Python interpreter, a compiler) takes longer than Jest's 5 s on a small machine.
  testTimeout: 30_000,
};
