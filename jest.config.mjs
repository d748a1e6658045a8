// Everything that runs on a fresh machine. Tests against outside software: jest.peers.config.mjs.

/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.ts', '<rootDir>/drivers/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/peers/'],
  // dist/ holds a second copy of every module.
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/.cache/'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'es6' }, sourceMaps: 'inline' },
    ],
  },
};
