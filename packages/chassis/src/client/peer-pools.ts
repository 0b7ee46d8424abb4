/**
 * Connections to other peers for JSON calls: a pool for each peer and address, so that one that was opened to a peer
 * serves no other. Pools of those that were not called for long are closed.
 */
import { Pool } from 'undici';
import { RecentMap } from '../shares/recent-map.ts';
import { connectToPeer } from '../tls/connect.ts';
import type { PeerTls } from '../tls/peer-tls.ts';
import type { Target } from './target.ts';

/**
 * Pools that are kept: three services of each of some hundred members, and none has a connection while it is idle.
 * Past it: the one used least recently is closed, once its calls have ended.
 */
const POOLS_MAX = 512;

export interface PeerPools extends AsyncDisposable {
  to(target: Target): Pool;
}

export function createPeerPools(
  tls: PeerTls,
  { connectTimeoutMs, ...options }: Pool.Options & { readonly connectTimeoutMs: number },
): PeerPools {
  const all = new Set<Pool>();
  const pools = new RecentMap<string, Pool>({
    max: POOLS_MAX,
    onEvict: (_, pool) => void pool.close().finally(() => all.delete(pool)),
  });
  const open = (target: Target): Pool =>
    new Pool(target.origin, {
      ...options,
      connect: (_, done) => {
        const socket = connectToPeer(target, tls, {
          onReady() {
            clearTimeout(late);
            socket.off('error', fail);
            done(null, socket);
          },
        });
        const fail = (error: Error) => {
          clearTimeout(late);
          done(error, null);
        };
        const late = setTimeout(
          () => socket.destroy(new Error('no TLS connection in time')),
          connectTimeoutMs,
        );
        socket.once('error', fail);
      },
    });
  return {
    to(target) {
      const name = `${target.peerId} ${target.origin}`;
      const known = pools.get(name);
      if (known !== undefined) return known;
      const pool = open(target);
      all.add(pool);
      pools.set(name, pool);
      return pool;
    },
    async [Symbol.asyncDispose]() {
      pools.clear();
      await Promise.all([...all].map((pool) => pool.destroy()));
    },
  };
}
