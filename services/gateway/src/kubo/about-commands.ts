/** `version` and `id`: who answers here, in the shape that Kubo's clients read. */
import { routePath, routingRoutes } from '@shoal/protocol';
import type { RpcCommand } from './rpc/call.ts';
import { holdTo } from './rpc/options.ts';
import { RpcError } from './rpc/rpc-error.ts';
import PACKAGE from '../../package.json' with { type: 'json' };

const AGENT = `shoal/${PACKAGE.version}`;

/** Shoal's own version: no client is to mistake it for a Kubo of that number. */
export const version: RpcCommand = async () => ({
  Version: PACKAGE.version,
  Commit: '',
  Repo: '0',
  System: `${process.arch}/${process.platform}`,
  Golang: '',
});

/** This peer, or the one that is named. */
export const id: RpcCommand = async ({ self, options, upstream, signal }) => {
  holdTo({ 'peerid-base': /^b58mh$/ }, options, 'peers are named in base58');
  const peerId = options.args[0] || self;
  const { Peers: found } = await upstream.json(
    'discovery',
    {
      method: 'GET',
      path: routePath(routingRoutes.findPeers.path, { peerId }),
      reply: routingRoutes.findPeers.reply,
    },
    { signal },
  );
  const [peer] = found;
  if (peer === undefined) throw new RpcError(500, `peer ${peerId.slice(0, 100)} was not found`);
  return {
    ID: peer.ID,
    PublicKey: '', // it is in the id itself, as every Ed25519 key is
    Addresses: peer.Addrs,
    AgentVersion: peer.ID === self ? AGENT : '',
    ProtocolVersion: '',
    Protocols: peer.Protocols,
  };
};
