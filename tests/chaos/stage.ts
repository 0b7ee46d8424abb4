/** Where scenarios play: real peers, as processes of their own. Stages are shared where nobody spoils them. */
import { type RunningPeer, startSwarm } from '@shoal/testkit';

export interface Stage extends AsyncDisposable {
  readonly peers: readonly RunningPeer[];
}

/** Opens a stage; scenarios with the same opener play on the same one, one after another. */
export type Opener<S extends Stage = Stage> = () => Promise<S>;

const PEERS = 5;

/** Five peers as anybody starts them, with the default grace for absent peers. */
export const steadySwarm: Opener = () => startSwarm(PEERS);

/** Peers that give up on an absent one, and delete what nobody wants, within seconds. */
const QUICK = {
  MEMBER_OUT_AFTER_MS: '5000',
  TRANSFER_SETTLE_DELAY_MS: '500',
  TRANSFER_SETTLE_INTERVAL_MS: '5000',
  STORAGE_SWEEP_GRACE_MS: '0',
};

/** Five such peers; what plays here harms whole peers, so each is a process. */
export const quickSwarm: Opener = () => startSwarm(PEERS, { processes: 'per peer', env: QUICK });

/** Thirty such peers, each of as many processes as anybody's. */
export const thirtyPeers: Opener = () =>
  startSwarm(30, { env: { ...QUICK, MEMBER_OUT_AFTER_MS: '20000' } });

/** Whether a peer was started and not stopped since. */
export function isUp(peer: RunningPeer): boolean {
  try {
    return peer.launcherId > 0;
  } catch {
    return false; // it says so by throwing
  }
}
