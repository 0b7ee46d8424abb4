/**
 * The order of test files: those that take longest first, so that no worker is left alone with one at
 * the end. Durations of earlier runs count; a fresh clone has none, so the levels
 * whose files wait for peers go before those that compute.
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { default: Sequencer } = require(
  require.resolve('@jest/test-sequencer', { paths: [require.resolve('jest')] }),
);

/** Seconds, roughly, on two cores: of files that take far more than others of their level. */
const LONG = {
  'services/discovery/test/integration/swarm.test.ts': 110,
  'packages/cli/test/integration/launch-peer.test.ts': 105,
  'services/discovery/test/integration/pins/pins.test.ts': 85,
  'tests/swarm/drain.test.ts': 80,
  'tests/swarm/peer-loss.test.ts': 60,
  'tests/swarm/crashes.test.ts': 60,
  'tests/swarm/directories.test.ts': 60,
  'tests/swarm/repair.test.ts': 55,
  'packages/cli/test/integration/launch-swarm.test.ts': 45,
  'tests/swarm/round-trip.test.ts': 40,
  'tests/swarm/tus.test.ts': 40,
  'packages/peer/test/integration/loops.test.ts': 35,
  'services/discovery/test/integration/twins.test.ts': 25,
  'services/chunker/test/integration/tus.test.ts': 25,
};
const LEVELS = { swarm: 20, conformance: 15, integration: 5, unit: 1 };

export default class LongestFirst extends Sequencer {
  sort(tests) {
    const secondsOf = ({ path, duration, context }) => {
      const long = Object.entries(LONG).find(([name]) => path.endsWith(name));
      const level = context.config.displayName?.name;
      return long?.[1] ?? (duration === undefined ? (LEVELS[level] ?? 1) : duration / 1000);
    };
    return tests.toSorted((one, two) => secondsOf(two) - secondsOf(one));
  }
}
