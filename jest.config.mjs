const shared = {
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/tools/strip-types.mjs' },
};
export default {
  reporters: ['default', '<rootDir>/tools/count-reporter.mjs'],
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['**/{packages,services}/*/test/*.test.ts', '<rootDir>/tests/*.test.ts'],
    },
    {
      ...shared,
      displayName: 'integration',
      testMatch: ['**/{packages,services}/*/test/integration/*.test.ts'],
    },
    { ...shared, displayName: 'swarm', testMatch: ['<rootDir>/tests/swarm/*.test.ts'] },
  ],
};
