/** A client that retrieves over HTTP as Kubo does. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seededBytes, seededStream, sha256Of } from '@shoal/testkit';
import { exporter } from 'ipfs-unixfs-exporter';
import { CID } from 'multiformats/cid';
import { createKuboClient, type KuboClient, originOf } from './kubo-client.ts';
import { type Rig, TEST_TIMEOUT_MS } from './rig.ts';

export function kuboHttpSuite(rig: () => Rig): void {
  describe('Kubo’s HTTP retrieval', { timeout: TEST_TIMEOUT_MS }, () => {
    it('dials our addresses, and names without TLS not', () => {
      assert.equal(originOf('/ip4/127.0.0.1/tcp/8401/http'), 'http://127.0.0.1:8401');
      assert.equal(originOf('/ip6/::1/tcp/8401/http'), 'http://[::1]:8401');
      assert.equal(originOf('/dns4/localhost/tcp/8401/http'), undefined);
      assert.equal(originOf('/ip4/203.0.113.5/tcp/80/http'), undefined);
      assert.equal(originOf('/dns/a.example/tcp/443/tls/http'), 'https://a.example:443');
    });

    for (const port of ['discovery', 'gateway'] as const)
      it(`downloads a striped file, routed by a ${port}`, async () => {
        const { peer, striped } = rig();
        const client = createKuboClient(peer(2)[port]);
        const entry = await fileOf(striped.cid, client);
        assert.equal(
          await sha256Of(entry.content()),
          await sha256Of(seededStream(striped.seed, striped.sizeBytes)),
        );
        assert.deepEqual([...client.dropped], []);
        assert(client.hosts.size >= 1);
      });

    it('reads a range, and asks the router about a chunk that it begins with', async () => {
      const { peer, striped } = rig();
      const root = await fileOf(striped.cid, createKuboClient(peer(0).discovery));
      const chunk = root.node.Links[20]?.Hash;
      assert(chunk !== undefined);
      // A client that knows nobody yet, and was never told the root.
      const client = createKuboClient(peer(3).discovery);
      const block = await client.get(chunk);
      const wanted = seededBytes(striped.seed, striped.sizeBytes);
      assert(wanted.subarray(20 * 1024 * 1024, 21 * 1024 * 1024).equals(block));
      assert.equal(client.routed, 1);
    });

    it('keeps its hosts, however often they are asked for what nobody has', async () => {
      const { peer, striped } = rig();
      const client = createKuboClient(peer(4).discovery);
      await client.get(CID.parse(striped.cid));
      const absent = CID.parse('bafkreifbvngde7yu3osqoovlv4h6b5ikpnkitbolboj3vxx2fameo3ppoy');
      for (let asked = 0; asked < 5; asked += 1)
        await assert.rejects(client.get(absent), /nobody gives it/);
      assert.equal(client.dropped.size, 0);
      assert.equal(client.hosts.size, 5);
    });
  });
}

/** A file, read by the reference exporter out of what the client gets. */
async function fileOf(cid: string, client: KuboClient) {
  const entry = await exporter(CID.parse(cid), {
    async *get(block) {
      yield await client.get(block);
    },
  });
  assert(entry.type === 'file');
  return entry;
}
