/**
 * Clients that nobody here wrote, against one swarm of five that all suites share: starting one takes
 * longer than most of what they do with it. A suite that harms a peer mends it again, and comes last.
 */
import { after, before, describe } from 'node:test';
import { downloaderSuite } from './downloaders.ts';
import { heliaSuite } from './helia.ts';
import { ipfsCarSuite } from './ipfs-car.ts';
import { kuboCommandLineSuite } from './kubo-command-line.ts';
import { kuboHttpSuite } from './kubo-http.ts';
import { kuboRpcSuite } from './kubo-rpc.ts';
import { profileSuite } from './profiles.ts';
import { startRig, type Rig } from './rig.ts';
import { tusSuite } from './tus.ts';

describe('clients that nobody here wrote', () => {
  let rig: Rig | undefined;
  before(async () => {
    rig = await startRig();
  });
  after(async () => {
    await rig?.[Symbol.asyncDispose]();
  });
  const running = (): Rig => {
    if (rig === undefined) throw new Error('the swarm did not start');
    return rig;
  };
  profileSuite(running);
  ipfsCarSuite(running);
  kuboRpcSuite(running);
  kuboCommandLineSuite(running);
  heliaSuite(running);
  kuboHttpSuite(running);
  downloaderSuite(running);
  tusSuite(running);
});
