/** Helia as it is on npm, told nothing but the address of a router. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withHTTP } from '@helia/http';
import { unixfs } from '@helia/unixfs';
import { createVerifiedFetchWithHelia } from '@helia/verified-fetch';
import { health, seededBytes, seededStream, sha256Of } from '@shoal/testkit';
import { createHeliaLight } from 'helia';
import { CID } from 'multiformats/cid';
import { CARS, importFixture } from './fixtures.ts';
import { type Rig, TEST_TIMEOUT_MS } from './rig.ts';

/** Helia speaks to private addresses and without TLS only when told so. */
const LAN = { allowInsecure: true, allowLocal: true };

/** A fresh node: one that asked before has blocks of its own. */
async function startHelia(router: string) {
  const helia = await withHTTP(createHeliaLight(), {
    delegatedRouters: [router],
    recursiveGateways: [],
    ...LAN,
  }).start();
  return {
    helia,
    async [Symbol.asyncDispose]() {
      await helia.stop();
    },
  };
}

export function heliaSuite(rig: () => Rig): void {
  describe('Helia', { timeout: TEST_TIMEOUT_MS }, () => {
    it('the file it gets is striped: no peer has all of it', async () => {
      const { peer, striped } = rig();
      const { holders } = await health(peer(0).discovery, striped.cid);
      assert.equal(holders.length, 5);
      assert(holders.every(({ share }) => share < 1));
    });

    it('verified-fetch downloads a striped file, given only a discovery URL', async () => {
      const { peer, striped } = rig();
      await using node = await startHelia(peer(1).discovery);
      const verifiedFetch = await createVerifiedFetchWithHelia(node.helia);
      const response = await verifiedFetch(`ipfs://${striped.cid}`, {
        signal: AbortSignal.timeout(60_000),
      });
      assert.equal(response.status, 200);
      assert(response.body !== null);
      assert.equal(
        await sha256Of(response.body),
        await sha256Of(seededStream(striped.seed, striped.sizeBytes)),
      );
    });

    it('verified-fetch reads a range out of its middle, given a gateway’s URL as the router', async () => {
      const { peer, striped } = rig();
      await using node = await startHelia(peer(2).gateway);
      const verifiedFetch = await createVerifiedFetchWithHelia(node.helia);
      const [start, end] = [7_000_000, 9_000_009];
      const response = await verifiedFetch(`ipfs://${striped.cid}`, {
        headers: { range: `bytes=${start}-${end}` },
        signal: AbortSignal.timeout(30_000),
      });
      assert.equal(response.status, 206);
      const wanted = seededBytes(striped.seed, striped.sizeBytes).subarray(start, end + 1);
      assert(Buffer.from(await response.arrayBuffer()).equals(wanted));
    });

    it('unixfs.cat, which asks the router for every block, gets it too', async () => {
      const { peer, striped } = rig();
      await using node = await startHelia(peer(3).discovery);
      const bytes = unixfs(node.helia).cat(CID.parse(striped.cid), {
        signal: AbortSignal.timeout(60_000),
      });
      assert.equal(
        await sha256Of(bytes),
        await sha256Of(seededStream(striped.seed, striped.sizeBytes)),
      );
    });

    it('a path through a sharded directory that came in as a CAR leads to its file', async () => {
      const { peer } = rig();
      const { root } = await importFixture(peer(0), CARS.sharded);
      await using node = await startHelia(peer(4).discovery);
      const verifiedFetch = await createVerifiedFetchWithHelia(node.helia);
      const response = await verifiedFetch(`ipfs://${root}/685.txt`, {
        signal: AbortSignal.timeout(30_000),
      });
      assert.equal(response.status, 200);
      assert.equal((await response.text()).length, 1026);
    });

    it('unixfs.ls lists a directory that came in as a CAR', async () => {
      const { peer } = rig();
      const { root } = await importFixture(peer(1), CARS.folders);
      await using node = await startHelia(peer(3).discovery);
      const names: string[] = [];
      for await (const { name } of unixfs(node.helia).ls(CID.parse(root), { path: '/subdir' }))
        names.push(name);
      assert.deepEqual(names, ['ascii.txt', 'hello.txt', 'multiblock.txt']);
    });

    it('what nobody has ends with an error, not with a wait', async () => {
      const { peer } = rig();
      await using node = await startHelia(peer(1).discovery);
      const verifiedFetch = await createVerifiedFetchWithHelia(node.helia);
      const absent = 'bafkreifbvngde7yu3osqoovlv4h6b5ikpnkitbolboj3vxx2fameo3ppoy';
      const outcome = await verifiedFetch(`ipfs://${absent}`, {
        signal: AbortSignal.timeout(30_000),
      }).then(
        ({ status }) => status,
        (error: unknown) => error,
      );
      assert(outcome instanceof Error || (outcome as number) >= 400, `it was ${String(outcome)}`);
    });
  });
}
