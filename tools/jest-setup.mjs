import { openSharedSwarm } from './shared-swarm.mjs';

/** Before jest's first test. Each project calls it; the first call is the one that counts. */
export default openSharedSwarm;
