import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createDagBuilder, digestOf, proveCopy, rangesToProve } from '@shoal/blocks';
import { openIdentity } from '@shoal/chassis';
import { type Cid, KiB, MiB, type PeerId, storageRoutes as routes } from '@shoal/protocol';
import { type Client, createPeerFolder, newBlock, newLease, type PeerFolder } from './harness.ts';

const nonceOf = () => randomBytes(16).toString('base64url');

describe('proofs of the storage service', () => {
  let peer: PeerFolder;
  let service: Awaited<ReturnType<PeerFolder['start']>>;
  let client: Client;
  let stranger: Client;
  let self: PeerId;
  let other: PeerId;

  beforeEach(async () => {
    peer = await createPeerFolder();
    service = await peer.start();
    client = peer.client(service.origin);
    stranger = peer.stranger(service.origin);
    self = openIdentity(join(peer.dir, 'identity.key')).peerId;
    other = openIdentity(join(peer.dir, 'other.key')).peerId;
  });
  afterEach(async () => {
    await service[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
  });

  const fileOf = (cid: Cid) => {
    const hex = Buffer.from(digestOf(cid)).toString('hex');
    return join(peer.storageDir, 'blocks', hex.slice(0, 2), hex);
  };
  const ask = async (from: Client, cids: readonly Cid[], nonce: string, query = '') => {
    const { body } = await from.json('POST', routes.proveBlocks.path + query, { cids, nonce });
    return body['proofs'] as string[];
  };
  const expected = async (cids: readonly Cid[], nonce: string, asker: PeerId, holder: PeerId) => {
    const args = { cids, nonce, asker, holder };
    return (await client.json('POST', routes.expectProofs.path, args)).body['proofs'] as string[];
  };

  it('are those of the bytes, whatever the size, for who asks and no other', async () => {
    const blocks = [0, 1, 16 * KiB, 16 * KiB + 1, 200 * KiB, MiB, 2 * MiB].map(newBlock);
    for (const { cid, bytes } of blocks) await client.put(cid, bytes);
    const cids = blocks.map(({ cid }) => cid);
    const nonce = nonceOf();
    const made = blocks.map(({ cid, bytes }) => {
      const challenge = { nonce, asker: other, holder: self, cid };
      const parts = rangesToProve(challenge, bytes.length).map(({ offset, length }) =>
        bytes.subarray(offset, offset + length),
      );
      return proveCopy(challenge, bytes.length, parts);
    });
    expect(await ask(stranger, cids, nonce)).toEqual(made);
    expect(await expected(cids, nonce, other, self)).toEqual(made);
    // A member that is asked by us and asks us in turn gets a proof that is worth nothing to it.
    expect(await ask(stranger, cids, nonce)).not.toEqual(await expected(cids, nonce, self, other));
    expect(await ask(stranger, cids, nonceOf())).not.toEqual(made);
  });

  it('are made in the name of others for services of this peer alone', async () => {
    const { cid, bytes } = newBlock(10);
    await client.put(cid, bytes);
    const args = { cids: [cid], nonce: nonceOf(), asker: self, holder: other };
    expect((await stranger.json('POST', routes.expectProofs.path, args)).status).toBe(401);
  });

  it('are not given of what is not held; of what is about to go, or may go with its upload, not to those who rely on it for good', async () => {
    const [absent, going, leased] = [newBlock(10), newBlock(MiB), newBlock(70 * KiB)];
    await client.put(going.cid, going.bytes);
    await client.put(leased.cid, leased.bytes, newLease());
    expect(await client.retire([going.cid], 1)).toEqual([true]);
    const cids = [absent.cid, going.cid, leased.cid];
    const nonce = nonceOf();
    // Or a sample in that moment would find a peer out that has what it says.
    expect((await ask(stranger, cids, nonce)).map((proof) => proof !== '')).toEqual([
      false,
      true,
      true,
    ]);
    expect(await ask(stranger, cids, nonce, '?forGood=true')).toEqual(['', '', '']);
    // Our own services compare with what is about to go: that is why they ask others.
    expect((await expected(cids, nonce, self, other)).map((proof) => proof !== '')).toEqual([
      false,
      true,
      true,
    ]);
  });

  it('fail once the bytes are gone, cut or changed behind its back', async () => {
    const blocks = [newBlock(MiB), newBlock(MiB), newBlock(MiB)];
    for (const { cid, bytes } of blocks) await client.put(cid, bytes);
    const cids = blocks.map(({ cid }) => cid);
    const nonce = nonceOf();
    const sound = await ask(stranger, cids, nonce);
    const [gone = '', cut = '', changed = ''] = cids.map((cid) => fileOf(cid));
    await rm(gone);
    await truncate(cut, MiB - 1);
    const bytes = await readFile(changed);
    await writeFile(changed, bytes.fill(0));
    const now = await ask(stranger, cids, nonce);
    expect(now.slice(0, 2)).toEqual(['', '']);
    expect(now[2]).not.toBe(sound[2]);
    // What was found gone is no longer confirmed either.
    expect(await client.have(cids)).toEqual([false, false, true]);
  });

  it('are bounded: so many blocks a call, and nonces of one form', async () => {
    const { cid } = newBlock(1);
    for (const body of [
      { cids: Array.from({ length: 65 }, () => cid), nonce: nonceOf() },
      { cids: [cid], nonce: 'x'.repeat(1000) },
      { cids: [cid] },
    ])
      expect((await stranger.json('POST', routes.proveBlocks.path, body)).status).toBe(400);
  });

  it('can be asked for by place in a DAG', async () => {
    const put = async (bytes: Uint8Array<ArrayBuffer>, codec: 'raw' | 'dag-pb') => {
      const { body } = await client.add(bytes, codec);
      return body['cid'] as Cid;
    };
    const first = await put(Buffer.from('first'), 'raw');
    const second = await put(Buffer.from('second'), 'raw');
    const dag = createDagBuilder();
    dag.addLeaf({ cid: first, sizeBytes: 5 });
    dag.addLeaf({ cid: second, sizeBytes: 6 });
    const { root, nodes } = dag.finish();
    for (const { bytes } of nodes) await put(Uint8Array.from(bytes), 'dag-pb');
    const places = [0, 1, 2, 3].map((index) => ({ root, index }));
    const absent = { root: newBlock(3).cid, index: 0 };
    const { body } = await client.json('POST', routes.nameBlocks.path, {
      places: [...places, absent],
    });
    expect(body['blocks']).toEqual([{ cid: root }, { cid: first }, { cid: second }, {}, {}]);
  });
});
