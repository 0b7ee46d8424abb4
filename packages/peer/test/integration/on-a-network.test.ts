/** A peer that listens beyond this machine, started as the pages for networks say: with no word about tokens. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { deriveWriteToken, readSwarmKey } from '@shoal/chassis';
import { upload } from '@shoal/testkit';
import { type Asked, type OpenPeer, openPeer } from './every-route.ts';

const FILE = { name: 'a.bin', seed: 'on a network', sizeBytes: 1000 };
/** What routes of peers look at before the proof. */
const JSON_BODY = { 'content-type': 'application/json' };
const isWrite = ({ method }: Asked) => !/^(?:GET|HEAD|OPTIONS)$/.test(method);
const isRpc = ({ route }: Asked) => route.startsWith('/api/v0/');

describe('a peer on a network', () => {
  let peer: OpenPeer;
  beforeAll(async () => {
    peer = await openPeer({ host: '0.0.0.0' });
  });
  afterAll(async () => {
    await peer[Symbol.asyncDispose]();
  });

  it.each([
    ['no token', {}],
    ['another token', { authorization: 'Bearer 0123456789abcdef0123456789abcdef' }],
    ['the method by another name', { 'x-http-method-override': 'DELETE' }],
  ])('takes no write at any port with %s', async (_, headers) => {
    const answers = await peer.askAll(() => ({ ...JSON_BODY, ...headers }), { only: isWrite });
    const there = answers.filter(({ isThere, asked }) => isThere && !isRpc(asked));
    expect(there.length).toBeGreaterThan(40);
    expect(there.filter(({ status }) => status !== 401)).toEqual([]);
    const rpc = answers.filter(({ isThere, asked }) => isThere && isRpc(asked));
    expect(
      rpc.map(({ status }) => status).filter((status) => !/403|405/.test(`${status}`)),
    ).toEqual([]);
    const elsewhere = answers.filter(({ isThere }) => !isThere);
    expect(elsewhere.filter(({ status }) => ![401, 404, 405].includes(status))).toEqual([]);
  });

  it('takes writes with the token that is made from the swarm key, and reads without', async () => {
    const token = deriveWriteToken(readSwarmKey(peer.keyFile));
    for (const service of ['gateway', 'chunker'] as const) {
      const { status } = await fetch(
        `${peer.peer.origins[service]}/files?name=${service}&copies=1`,
        {
          method: 'POST',
          body: service,
          headers: { authorization: `Bearer ${token}` },
        },
      );
      expect([service, status]).toEqual([service, 201]);
    }
    const { status, text } = await peer.ask('discovery', { method: 'GET', route: '/files' });
    expect(status).toBe(200);
    expect(text).toContain('chunker');
  });
});

describe('a peer on a network that was told to be open', () => {
  it('takes writes from every client', async () => {
    await using peer = await openPeer({ host: '0.0.0.0', isOpen: true });
    const { status } = await upload(peer.peer.origins.chunker, FILE, { query: 'copies=1' });
    expect(status).toBe(201);
  });
});
