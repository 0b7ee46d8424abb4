/**
 * How many bytes a token may still put: its quota, less what discovery knows of live files that it put. It is asked
 * when a request begins, so that no body is read for nothing, and before each pin, which decides; so what a token keeps is
 * over its quota by at most what was on its way, here and at other peers, when it was reached.
 */
import type { PeerClient } from '@shoal/chassis';
import { type Cid, discoveryRoutes, QuotaExceeded } from '@shoal/protocol';
import type { Quota, UploadToken } from './intake/intake.ts';

export function createQuota({ client }: { readonly client: PeerClient }): Quota {
  const target = client.own('discovery');
  const leftOf = async (
    { id: token }: UploadToken,
    maxBytes: number,
    options: { signal: AbortSignal },
  ): Promise<number> => {
    const args = { params: { token } };
    const { usedBytes } = await client.call(target, discoveryRoutes.tokenUse, args, options);
    return Math.max(0, maxBytes - usedBytes);
  };
  /** The same file put again is no more than it was. */
  const isKept = async (root: Cid, options: { signal: AbortSignal }): Promise<boolean> => {
    const args = { body: { hashes: [root] } };
    const { pins } = await client.call(target, discoveryRoutes.findPins, args, options);
    return pins[0] !== undefined && pins[0] !== null && !pins[0].deleted;
  };
  return {
    async check(token, neededBytes, { signal, root }) {
      const maxBytes = token?.maxBytes;
      if (token === undefined || maxBytes === undefined) return Infinity;
      const leftBytes = await leftOf(token, maxBytes, { signal });
      const isOver = neededBytes > leftBytes || (leftBytes === 0 && root === undefined);
      if (!isOver || (root !== undefined && (await isKept(root, { signal })))) return leftBytes;
      throw new QuotaExceeded({ token: token.name, maxBytes, leftBytes });
    },
  };
}
