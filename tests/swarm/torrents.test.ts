import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB, type ProblemBody, transferRoutes } from '@shoal/protocol';
import {
  change,
  download,
  eventually,
  metric,
  type RunningPeer,
  type RunningSwarm,
  seededBytes,
  startSwarm,
  upload,
} from '@shoal/testkit';
import { request } from 'undici';
import { fileNode, makeCar, makeDirectory } from '../conformance/make-dag.ts';

const PEERS = 4;
const FILE = { name: 'größe & <写真>.bin', seed: 'torrent', sizeBytes: 7 * MiB + 11 };
const BYTES = seededBytes(FILE.seed, FILE.sizeBytes);

const digest = (algorithm: 'sha1' | 'sha256', bytes: Uint8Array) =>
  createHash(algorithm).update(bytes).digest();
const piecesOf = (algorithm: 'sha1' | 'sha256', bytes: Uint8Array) =>
  Array.from({ length: Math.ceil(bytes.length / MiB) }, (_, index) =>
    digest(algorithm, bytes.subarray(index * MiB, (index + 1) * MiB)),
  );

/** The infohash as another program would work it out from the bytes. */
function infohashOf(name: string, bytes: Uint8Array): string {
  const pieces = Buffer.concat(piecesOf('sha1', bytes));
  const nameBytes = Buffer.from(name);
  return digest(
    'sha1',
    Buffer.concat([
      Buffer.from(`d6:lengthi${bytes.length}e4:name${nameBytes.length}:`),
      nameBytes,
      Buffer.from(`12:piece lengthi${MiB}e6:pieces${pieces.length}:`),
      pieces,
      Buffer.from('e'),
    ]),
  ).toString('hex');
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly bytes: Buffer;
}

async function get(url: string, headers: Record<string, string> = {}): Promise<Answer> {
  const { statusCode, headers: answered, body } = await request(url, { headers });
  return { status: statusCode, headers: answered, bytes: Buffer.from(await body.arrayBuffer()) };
}

const problemOf = ({ bytes }: Answer) => JSON.parse(bytes.toString()) as ProblemBody;

/** What a client reads in a torrent: `info` is cut out as it stands, since its bytes are what counts. */
async function torrentAt(origin: string, hash: string) {
  const answer = await get(`${origin}/files/${hash}.torrent`);
  expect(answer.status).toBe(200);
  const { bytes } = answer;
  const end = bytes.indexOf('8:url-list');
  const info = bytes.subarray(bytes.indexOf('4:infod') + '4:info'.length, end);
  const urls = bytes.toString('latin1', end).match(/http:\/\/[^/]+\/files\/b[a-z2-7]{58}/g) ?? [];
  return { ...answer, infohash: digest('sha1', info).toString('hex'), urls };
}

async function metalinkAt(origin: string, hash: string) {
  const answer = await get(`${origin}/files/${hash}.meta4`);
  expect(answer.status).toBe(200);
  const text = answer.bytes.toString();
  const all = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, found = '']) => found);
  return {
    ...answer,
    text,
    name: all(/<file name="([^"]*)">/g)[0],
    hashes: all(/<hash>([0-9a-f]{64})<\/hash>/g),
    urls: all(/<url priority="\d+">([^<]*)<\/url>/g),
  };
}

describe('torrents and Metalinks', () => {
  let swarm: RunningSwarm;
  let cid: string;
  let sha256: string;
  const peer = (index: number): RunningPeer => {
    const found = swarm.peers[index];
    if (found === undefined) throw new Error(`no peer ${index}`);
    return found;
  };
  const urlsOf = (peers: readonly RunningPeer[]) =>
    peers.map(({ gateway }) => `${gateway}/files/${cid}`).toSorted();
  beforeAll(async () => {
    swarm = await startSwarm(PEERS, { processes: 'per peer' });
    const { reply } = await upload(peer(0).chunker, FILE, { query: 'replicas=2&copies=2' });
    cid = reply.cid;
    sha256 = String(reply.sha256);
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  it('make the infohash that anybody makes of these bytes and this name, at every peer', async () => {
    const expected = infohashOf(FILE.name, BYTES);
    for (const { gateway, transfer } of swarm.peers) {
      expect((await torrentAt(gateway, cid)).infohash).toBe(expected);
      expect((await torrentAt(transfer, sha256)).infohash).toBe(expected);
    }
  });

  it('read a file for its torrent once, and never again after a restart', async () => {
    const hashings = () =>
      metric(peer(3).transfer, 'shoal_transfer_hashings_total', { outcome: 'done' });
    const before = await torrentAt(peer(3).gateway, cid);
    expect(await hashings()).toBe(1);
    await peer(3).kill();
    await peer(3).start();
    await eventually('the peer sees the others again', async () => {
      const { infohash, urls } = await torrentAt(peer(3).gateway, cid);
      return infohash === before.infohash && urls.length === PEERS;
    });
    expect(await hashings()).toBe(0);
  });

  it('are told apart from other files: type, name, validator', async () => {
    const torrent = await torrentAt(peer(1).gateway, cid);
    expect(torrent.headers).toMatchObject({
      'content-type': 'application/x-bittorrent',
      'x-content-type-options': 'nosniff',
      'cache-control': 'public, max-age=30',
    });
    expect(String(torrent.headers['content-disposition'])).toContain(
      `${encodeURIComponent(FILE.name)}.torrent`,
    );
    const etag = String(torrent.headers['etag']);
    const again = await get(`${peer(1).gateway}/files/${cid}.torrent`, { 'if-none-match': etag });
    expect(again).toMatchObject({ status: 304, bytes: Buffer.alloc(0) });
    const head = await request(`${peer(1).gateway}/files/${cid}.meta4`, { method: 'HEAD' });
    const metalink = await metalinkAt(peer(1).gateway, cid);
    expect(head.headers).toMatchObject({
      'content-type': 'application/metalink4+xml',
      'content-length': String(metalink.bytes.length),
      etag: metalink.headers['etag'],
    });
    expect(await head.body.text()).toBe('');
  });

  it('state the sha-256 of each piece without reading any', async () => {
    const { transfer, gateway } = peer(2);
    const fetched = () => metric(transfer, 'shoal_transfer_blocks_fetched_total');
    await metalinkAt(gateway, cid); // now the manifest is known
    const before = await fetched();
    const { text, name, hashes, urls } = await metalinkAt(gateway, sha256);
    expect(await fetched()).toBe(before);
    expect(name).toBe('größe &amp; &lt;写真&gt;.bin');
    expect(text).toContain(`<size>${FILE.sizeBytes}</size>`);
    expect(text).toContain(
      `<hash type="sha-256">${digest('sha256', BYTES).toString('hex')}</hash>`,
    );
    expect(hashes).toEqual(piecesOf('sha256', BYTES).map((each) => each.toString('hex')));
    expect(urls[0]).toBe(`${gateway}/files/${cid}`);
    expect(urls.toSorted()).toEqual(urlsOf(swarm.peers));
  });

  it('lead to the pieces, one by one, at every address', async () => {
    const { urls } = await torrentAt(peer(0).gateway, cid);
    expect(urls.toSorted()).toEqual(urlsOf(swarm.peers));
    const pieces = piecesOf('sha1', BYTES);
    for (const [index, piece] of pieces.entries()) {
      const last = Math.min((index + 1) * MiB, FILE.sizeBytes) - 1;
      const url = String(urls[index % urls.length]);
      const { status, bytes } = await get(url, { range: `bytes=${index * MiB}-${last}` });
      expect(status).toBe(206);
      expect(digest('sha1', bytes)).toEqual(piece);
    }
  });

  it('are named in the headers of the file, and so are other peers that have it', async () => {
    const { headers } = await download(peer(0).gateway, cid, { headers: { range: 'bytes=0-0' } });
    const links = String(headers['link']).split(', ');
    const pathOf = (link: string) =>
      new URL(String(/<([^>]+)>/.exec(link)?.[1]), `${peer(0).gateway}/files/${cid}`).pathname;
    const described = links.filter((link) => link.includes('rel="describedby"')).map(pathOf);
    expect(described).toEqual([`/files/${cid}.meta4`, `/files/${cid}.torrent`]);
    for (const path of described)
      expect(await get(peer(0).gateway + path)).toMatchObject({ status: 200 });
    expect(links[0]).toContain('rel="canonical"');
    expect(pathOf(String(links[0]))).toBe(`/ipfs/${cid}`);
    const duplicates = links.flatMap((link) => /<([^>]+)>; rel="duplicate"/.exec(link)?.[1] ?? []);
    expect(duplicates.toSorted()).toEqual(urlsOf(swarm.peers.slice(1)));
  });

  it('leave the sha-256 of the file in its headers, unless the reader minds', async () => {
    const digestWith = async (want: Record<string, string>) =>
      (await download(peer(1).gateway, cid, { headers: { range: 'bytes=0-0', ...want } })).headers[
        'repr-digest'
      ];
    const expected = `sha-256=:${digest('sha256', BYTES).toString('base64')}:`;
    expect(await digestWith({})).toBe(expected);
    expect(await digestWith({ 'want-repr-digest': 'sha-256=9, sha-512=1' })).toBe(expected);
    expect(await digestWith({ 'want-repr-digest': 'sha-512=9, sha-256=0' })).toBeUndefined();
  });

  it('are refused for what can’t have one', async () => {
    const { reply } = await upload(peer(0).chunker, { name: 'empty', seed: '', sizeBytes: 0 });
    const none = await get(`${peer(1).gateway}/files/${reply.cid}.torrent`);
    expect(none.status).toBe(409);
    expect(problemOf(none)).toMatchObject({ type: 'problems/description-impossible' });
    const { text } = await metalinkAt(peer(1).gateway, reply.cid);
    expect(text).toContain('<size>0</size>');
    expect(text).not.toContain('<pieces');
    const unknown = await get(`${peer(1).gateway}/files/${'0'.repeat(64)}.torrent`);
    expect(unknown.status).toBe(404);
    const wrong = await get(`${peer(1).gateway}/files/${cid.slice(1)}.meta4`);
    expect(wrong.status).toBe(400);
    expect(problemOf(wrong)).toMatchObject({ type: 'problems/hash-invalid' });
  });

  it('are made of a file that others cut, too, by reading it', async () => {
    const bytes = seededBytes('foreign', 2 * MiB + 77);
    const leafBytes = MiB / 4 - 3; // pieces begin and end inside of leaves
    const leaves = Array.from({ length: Math.ceil(bytes.length / leafBytes) }, (_, index) =>
      fileNode(bytes.subarray(index * leafBytes, (index + 1) * leafBytes)),
    );
    const root = fileNode(new Uint8Array(), leaves);
    const folder = makeDirectory([{ name: 'foreign.bin', child: root }]);
    const put = async (of: typeof root, name: string) => {
      const blocks = [of, ...(of === folder ? [root] : []), ...leaves];
      const { statusCode, body } = await request(`${peer(0).gateway}/ipfs?name=${name}`, {
        method: 'POST',
        headers: { 'content-type': 'application/vnd.ipld.car' },
        body: await makeCar(of.cid, blocks),
      });
      expect([statusCode, await body.text()]).toEqual([201, expect.stringContaining(name)]);
    };
    await put(root, 'foreign.bin');
    await put(folder, 'folder');

    const { gateway } = peer(2);
    const name = root.cid.toString();
    expect((await torrentAt(gateway, name)).infohash).toBe(infohashOf('foreign.bin', bytes));
    const { hashes, text } = await metalinkAt(gateway, name);
    expect(hashes).toEqual(piecesOf('sha256', bytes).map((each) => each.toString('hex')));
    expect(text).toContain(digest('sha256', bytes).toString('hex'));

    for (const extension of ['torrent', 'meta4']) {
      const refused = await get(`${gateway}/files/${folder.cid.toString()}.${extension}`);
      expect(refused.status).toBe(409);
      expect(problemOf(refused)['detail']).toContain('it is a directory');
    }
  });

  it('stand in the contract as paths that a person can read', async () => {
    const { bytes } = await get(`${peer(0).gateway}/openapi.json`);
    const { paths } = JSON.parse(bytes.toString()) as { paths: Record<string, unknown> };
    for (const { path } of [transferRoutes.getTorrent, transferRoutes.getMetalink])
      expect(paths).toHaveProperty([path.replace(':hash', '{hash}')]);
  });

  it('have another infohash under another name, and the same one at every peer again', async () => {
    await change(peer(0).gateway, cid, { name: 'plain.bin' });
    const expected = infohashOf('plain.bin', BYTES);
    for (const { gateway } of swarm.peers)
      await eventually('the new name is known', async () => {
        return (await torrentAt(gateway, cid)).infohash === expected;
      });
  });

  it('list no peer that is gone, while what was handed out before stays good', async () => {
    const before = await torrentAt(peer(0).gateway, cid);
    await peer(1).kill();
    const left = swarm.peers.filter((_, index) => index !== 1);
    for (const { gateway } of left)
      await eventually('the dead peer is left out', async () => {
        const [torrent, metalink] = [await torrentAt(gateway, cid), await metalinkAt(gateway, cid)];
        expect(torrent.infohash).toBe(before.infohash);
        const same = [torrent.urls, metalink.urls].map((urls) => urls.toSorted().join(' '));
        return same.every((urls) => urls === urlsOf(left).join(' '));
      });
    // A client that has the old list loses one address, and no byte.
    const reached = await Promise.all(
      before.urls.map((url) => get(url, { range: `bytes=0-${MiB - 1}` }).catch(() => undefined)),
    );
    const whole = reached.filter((answer) => answer?.status === 206);
    expect(whole).toHaveLength(PEERS - 1);
    for (const answer of whole)
      expect(digest('sha1', answer?.bytes ?? Buffer.alloc(0))).toEqual(piecesOf('sha1', BYTES)[0]);
  });
});
