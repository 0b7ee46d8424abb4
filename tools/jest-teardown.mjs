import { closeSharedSwarm } from './shared-swarm.mjs';

/** After jest's last test. */
export default async function tearDown() {
  if (!(await closeSharedSwarm())) throw new Error('a test left something in the shared swarm');
}
