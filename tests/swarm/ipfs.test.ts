/** The IPFS gateway over several real peers: what striping, absence and leaving do to it. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DirectoryReply, ImportReply, MiB } from '@shoal/protocol';
import {
  eventually,
  health,
  metric,
  type RunningPeer,
  type RunningSwarm,
  seededBytes,
  startSwarm,
  upload,
} from '@shoal/testkit';
import { CID } from 'multiformats/cid';
import { request } from 'undici';
import { fileNode, type MadeBlock, makeCar, rawLeaf } from '../conformance/make-dag.ts';

const PEERS = 3;
const ONE_COPY = 'replicas=1&copies=1';
/** A name of nobody's block. */
const ABSENT = 'bafkreifbvngde7yu3osqoovlv4h6b5ikpnkitbolboj3vxx2fameo3ppoy';

interface Got {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
}

async function get(url: string, headers: Record<string, string> = {}): Promise<Got> {
  const answer = await request(url, { headers, headersTimeout: 60_000, bodyTimeout: 60_000 });
  const body = Buffer.from(await answer.body.arrayBuffer());
  return { status: answer.statusCode, headers: answer.headers, body };
}

/** Uploads a directory with one copy of each leaf. */
async function uploadDirectory(
  peer: RunningPeer,
  files: Readonly<Record<string, Uint8Array>>,
): Promise<DirectoryReply> {
  const form = new FormData();
  for (const [path, bytes] of Object.entries(files))
    form.append('file', new Blob([Uint8Array.from(bytes)]), path);
  const url = `${peer.gateway}/directories?${ONE_COPY}`;
  return DirectoryReply.parse(await (await fetch(url, { method: 'POST', body: form })).json());
}

/** Imports a file as it is, with one copy of each leaf. */
async function importFile(
  peer: RunningPeer,
  root: MadeBlock,
  blocks: readonly MadeBlock[],
): Promise<void> {
  const { body } = await request(`${peer.gateway}/ipfs?${ONE_COPY}`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.ipld.car' },
    body: Buffer.from(await makeCar(root.cid, blocks)),
  });
  const { pinned } = ImportReply.parse(await body.json());
  expect(pinned).toMatchObject([{ kind: 'file', cid: root.cid.toString() }]);
}

const fetchedBlocks = (peer: RunningPeer, source?: 'own' | 'peer'): Promise<number> =>
  metric(peer.transfer, 'shoal_transfer_blocks_fetched_total', {
    outcome: 'verified',
    ...(source === undefined ? {} : { source }),
  });
/** Blocks that settling copied to a peer, which it fetches as a reader would. */
const settledBlocks = (peer: RunningPeer): Promise<number> =>
  metric(peer.transfer, 'shoal_transfer_repairs_total', { outcome: 'copied' });

describe('the IPFS gateway of a swarm of three', () => {
  let swarm: RunningSwarm;
  const peer = (index: number): RunningPeer => {
    const found = swarm.peers[index];
    if (found === undefined) throw new Error(`no peer ${index}`);
    return found;
  };
  beforeAll(async () => {
    swarm = await startSwarm(PEERS, {
      env: { TRANSFER_SETTLE_DELAY_MS: '500' },
      // The storages of the first two are killed alone.
      optionsOf: (index) => ({ processes: index < 2 ? 'per service' : 'per peer' }),
      processes: 'per peer',
    });
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  it('serves a striped file in a directory through every peer, whole and in ranges', async () => {
    const film = seededBytes('film', 6 * MiB + 11);
    const files = { 'site/film.mp4': film, 'site/deep/er/note.txt': Buffer.from('a note\n') };
    const { cid } = await uploadDirectory(peer(0), files);
    for (const { gateway, transfer } of swarm.peers) {
      const whole = await get(`${transfer}/ipfs/${cid}/film.mp4`);
      expect([whole.status, whole.headers['content-type']]).toEqual([200, 'video/mp4']);
      expect(whole.body.equals(film)).toBe(true);
      const part = await get(`${gateway}/ipfs/${cid}/film.mp4`, { range: 'bytes=1048570-1048590' });
      expect(part.status).toBe(206);
      expect(part.body.equals(film.subarray(1_048_570, 1_048_591))).toBe(true);
      const note = await get(`${gateway}/ipfs/${cid}/deep/er/note.txt`);
      expect(note.body.toString()).toBe('a note\n');
      const page = await get(`${gateway}/ipfs/${cid}/`);
      expect(page.body.toString()).toContain(`<a href="/ipfs/${cid}/deep/">deep</a>`);
    }
  });

  it('sends whoever asks for a directory as a file to its page', async () => {
    const { cid } = await uploadDirectory(peer(1), { 'pages/a.txt': Buffer.from('a') });
    const { status, headers } = await get(`${peer(2).gateway}/files/${cid}`);
    // Relative, so that it holds below a proxy's path.
    expect([status, headers['location']]).toEqual([302, `../ipfs/${cid}/`]);
  });

  it('serves a file whose leaves are wrapped in dag-pb, under both its addresses', async () => {
    const pieces = Array.from({ length: 5 }, (_, n) => seededBytes(`wrapped ${n}`, 200_000 + n));
    const leaves = pieces.map((piece) => fileNode(piece));
    const inner = fileNode(Buffer.from('bytes of a node'), leaves.slice(0, 3));
    const root = fileNode(Buffer.alloc(0), [
      inner,
      ...leaves.slice(3),
      rawLeaf(pieces[0] ?? Buffer.alloc(0)),
    ]);
    const blocks = [root, inner, ...leaves, rawLeaf(pieces[0] ?? Buffer.alloc(0))];
    await importFile(peer(0), root, blocks);
    const [first = Buffer.alloc(0)] = pieces;
    const whole = Buffer.concat([Buffer.from('bytes of a node'), ...pieces, first]);
    for (const { transfer } of swarm.peers)
      for (const path of ['files', 'ipfs']) {
        const url = `${transfer}/${path}/${root.cid.toString()}`;
        expect((await get(url)).body.equals(whole)).toBe(true);
        const part = await get(url, { range: 'bytes=10-400020' });
        expect(part.body.equals(whole.subarray(10, 400_021))).toBe(true);
      }
  });

  it('serves a file some of whose bytes stand in its links', async () => {
    const hello = CID.parse('bafkqabtimvwgy3yk');
    const inLink = {
      cid: hello,
      bytes: hello.multihash.digest,
      fileSizeBytes: 6,
      treeSizeBytes: 6,
    };
    const leaf = rawLeaf(seededBytes('beside a link', 300_000));
    const root = fileNode(Buffer.alloc(0), [inLink, leaf, inLink]);
    await importFile(peer(1), root, [root, leaf]);
    const whole = Buffer.concat([inLink.bytes, leaf.bytes, inLink.bytes]);
    for (const { transfer } of swarm.peers)
      for (const path of ['files', 'ipfs']) {
        const url = `${transfer}/${path}/${root.cid.toString()}`;
        expect((await get(url)).body.equals(whole)).toBe(true);
        const part = await get(url, { range: 'bytes=3-9' });
        expect(part.body.equals(whole.subarray(3, 10))).toBe(true);
      }
  });

  it('fetches a block that many ask for once, and HEAD and GET together once', async () => {
    const block = seededBytes('asked by many', MiB);
    const file = { name: 'many.bin', seed: 'asked by many', sizeBytes: MiB };
    const { reply } = await upload(peer(0).chunker, file, { query: ONE_COPY });
    const url = (at: number) => `${peer(at).transfer}/ipfs/${reply.cid}?format=raw`;
    const cached = { 'cache-control': 'only-if-cached' };
    await eventually('the one copy is at one peer', async () => {
      const asked = await Promise.all([0, 1, 2].map((at) => get(url(at), cached)));
      return asked.filter(({ status }) => status === 200).length === 1;
    });
    const asked = await Promise.all([0, 1, 2].map((at) => get(url(at), cached)));
    const without = asked.findIndex(({ status }) => status === 412);
    const before = await fetchedBlocks(peer(without), 'peer');
    const settledBefore = await settledBlocks(peer(without));
    const head = await request(url(without), { method: 'HEAD' });
    await head.body.dump();
    expect(head.headers['content-length']).toBe(String(MiB));
    const got = await Promise.all(Array.from({ length: 20 }, () => get(url(without))));
    for (const { body } of got) expect(body.equals(block)).toBe(true);
    // The copy may move to this very peer meanwhile, where it was placed: that is one fetch more, and
    // readers may then need none.
    await eventually('no more than one fetch for all its readers', async () => {
      const settled = (await settledBlocks(peer(without))) - settledBefore;
      const fetched = (await fetchedBlocks(peer(without), 'peer')) - before;
      return fetched - settled <= 1;
    });
  });

  it('stops fetching when its reader leaves', async () => {
    const sizeBytes = 48 * MiB;
    const { cid } = await uploadDirectory(peer(0), {
      'big/big.bin': seededBytes('left', sizeBytes),
    });
    const { transfer } = peer(1);
    const before = await fetchedBlocks(peer(1));
    const leaver = new AbortController();
    const { body } = await request(`${transfer}/ipfs/${cid}/big.bin`, { signal: leaver.signal });
    const reading = (async () => {
      for await (const _ of body) leaver.abort();
    })();
    await expect(reading).rejects.toThrow('aborted');
    await eventually(
      'the download ended',
      async () => (await metric(transfer, 'shoal_transfer_downloads_open')) === 0,
    );
    // How many were on their way by then is a matter of how busy the machine is.
    expect((await fetchedBlocks(peer(1))) - before).toBeLessThan(sizeBytes / MiB);
  });

  it('reads one byte anywhere in a file with three blocks at most, at a peer that holds no leaf of it', async () => {
    // So small beside the others that placement gives it nothing.
    const small = await swarm.addPeer({ env: { STORAGE_CAPACITY_BYTES: String(MiB) } });
    const sizeBytes = 64 * MiB + 5;
    const file = { name: 'long.bin', seed: 'long', sizeBytes };
    const { reply } = await upload(peer(0).chunker, file, { query: ONE_COPY });
    const url = `${small.transfer}/ipfs/${reply.cid}`;
    await eventually('the file’s one node is there', async () => {
      const { status } = await get(`${url}?format=raw`, { 'cache-control': 'only-if-cached' });
      return status === 200;
    });
    const bytes = seededBytes(file.seed, sizeBytes);
    for (const at of [0, Math.floor(sizeBytes / 2), Math.floor(sizeBytes * 0.99)]) {
      const before = await fetchedBlocks(small);
      const { status, body } = await get(url, { range: `bytes=${at}-${at}` });
      expect([at, status]).toEqual([at, 206]);
      expect(body.equals(bytes.subarray(at, at + 1))).toBe(true);
      expect((await fetchedBlocks(small)) - before).toBeLessThanOrEqual(3);
    }
    expect(await fetchedBlocks(small, 'peer')).toBeGreaterThanOrEqual(3);
  });

  it('waits for a storage that is being restarted, for what a pin promises', async () => {
    const files = { 'kept/a.bin': seededBytes('kept', 5 * MiB) };
    const { cid } = await uploadDirectory(peer(0), files);
    const bytes = files['kept/a.bin'];
    // When the upload is answered its pin is on its way to the others; until then nothing is promised here.
    await eventually('its pin is known', () => health(peer(2).discovery, cid));
    for (const at of [0, 1]) {
      await eventually('all storages are up', async () => {
        const answers = await Promise.all(
          [0, 1, 2].map((each) => request(`${peer(each).storage}/readyz`)),
        );
        await Promise.all(answers.map(({ body }) => body.dump()));
        return answers.every(({ statusCode }) => statusCode === 200);
      });
      peer(at).killOne('storage');
      const { status, body } = await get(`${peer(2).transfer}/ipfs/${cid}/a.bin`);
      expect(status).toBe(200);
      expect(body.equals(bytes)).toBe(true);
    }
  });

  it('answers 404 within seconds for what nobody has, also just after a peer died', async () => {
    await peer(2).kill();
    for (const form of ['?format=raw', '?format=car', '']) {
      const startedAtMs = performance.now();
      const { status } = await get(`${peer(0).gateway}/ipfs/${ABSENT}${form}`);
      expect([form, status]).toEqual([form, 404]);
      expect(performance.now() - startedAtMs).toBeLessThan(5000);
    }
  });
});
