const shared = {
  // Node's own module loader, which strips types itself.
  runtime: '<rootDir>/tools/jest/native-runtime.cjs',
  testEnvironment: '<rootDir>/tools/jest/native-environment.cjs',
  transform: {},
  // Data of swarms and the set-up's own packages are no part of the sources.
  modulePathIgnorePatterns: ['<rootDir>/\\.shoal/', '<rootDir>/\\.setup/'],
};
/** For levels with tests that ask the swarm that all share. */
const sharing = {
  globalSetup: '<rootDir>/tools/jest-setup.mjs',
  globalTeardown: '<rootDir>/tools/jest-teardown.mjs',
};
export default {
  testSequencer: '<rootDir>/tools/sequencer.mjs',
  reporters: ['default', '<rootDir>/tools/count-reporter.mjs'],
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: [
        '**/{packages,services}/*/test/*.test.ts',
        '**/{packages,services}/*/test/!(integration)/**/*.test.ts',
        '<rootDir>/tests/*.test.ts',
      ],
      setupFilesAfterEnv: ['<rootDir>/tools/test-timeout.mjs'],
      // They run at a low priority beside the others: what takes half a second alone may take ten.
      globals: { TEST_TIMEOUT_MS: 60_000 },
    },
    {
      ...shared,
      displayName: 'integration',
      testMatch: ['**/{packages,services}/*/test/integration/**/*.test.ts'],
      setupFilesAfterEnv: ['<rootDir>/tools/test-timeout.mjs'],
      // Real servers are started, on a machine that may be busy.
      globals: { TEST_TIMEOUT_MS: 60_000 },
    },
    {
      ...shared,
      ...sharing,
      displayName: 'swarm',
      testMatch: ['<rootDir>/tests/swarm/*.test.ts'],
      setupFilesAfterEnv: ['<rootDir>/tools/test-timeout.mjs'],
      // A swarm of five is thirty processes to start.
      globals: { TEST_TIMEOUT_MS: 180_000 },
    },
    {
      ...shared,
      ...sharing,
      displayName: 'conformance',
      testMatch: ['<rootDir>/tests/conformance/*.test.ts'],
      setupFilesAfterEnv: ['<rootDir>/tools/test-timeout.mjs'],
      // Whoever comes first waits for the shared swarm; a question takes milliseconds.
      globals: { TEST_TIMEOUT_MS: 180_000 },
    },
  ],
};
