import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { discoveryRoutes, MiB } from '@shoal/protocol';
import {
  download,
  eventually,
  health,
  type RunningSwarm,
  seededBytes,
  sha256Of,
  seededStream,
  startSwarm,
  upload,
  UPLOAD_FORMS,
  type UploadForm,
} from '@shoal/testkit';
import { request } from 'undici';

const PEERS = 5;

describe('a swarm of five', () => {
  let swarm: RunningSwarm;
  const peer = (index: number) => {
    const found = swarm.peers[index % PEERS];
    if (found === undefined) throw new Error(`no peer ${index}`);
    return found;
  };
  beforeAll(async () => {
    swarm = await startSwarm(PEERS, {
      // Peers as people run them, and peers in one process: they are the same to each other.
      optionsOf: (index) => ({ processes: index < 2 ? 'per service' : 'per peer' }),
    });
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  const cases = [0, 1, MiB - 1, MiB, MiB + 1, 64 * MiB].flatMap((sizeBytes, row) =>
    UPLOAD_FORMS.map((form, column): [number, UploadForm, number] => [
      sizeBytes,
      form,
      row + column,
    ]),
  );
  it.each(cases)(
    'gives %d bytes, uploaded as %s to peer %d, back from every other peer',
    async (sizeBytes, form, at) => {
      const file = {
        name: `größe ${sizeBytes} – 写真 ${form}.bin`,
        seed: `${sizeBytes} ${form}`,
        sizeBytes,
      };
      const { status, headers, reply } = await upload(peer(at).chunker, file, { form });
      const sha256 = await sha256Of(seededStream(file.seed, sizeBytes));
      expect(status).toBe(201);
      expect(reply).toMatchObject({ name: file.name, sizeBytes, sha256, replicas: 3 });
      expect(reply.copies).toBeGreaterThanOrEqual(2);
      expect(headers['location']).toMatch(new RegExp(`^[.]+/files/${reply.cid}$`));
      for (let other = 1; other < PEERS; other += 1) {
        const hash = other % 2 === 0 ? reply.cid : sha256;
        const { transfer, gateway } = peer(at + other);
        const got = await download(other === 3 ? gateway : transfer, hash);
        expect(got).toMatchObject({ status: 200, sizeBytes, sha256 });
        expect(got.headers).toMatchObject({
          etag: `"${reply.cid}"`,
          'content-length': String(sizeBytes),
          'repr-digest': `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`,
        });
        // Three uploads of 0 bytes are one file, and its newest name is on its way to the others when
        // the upload is answered.
        await eventually('it has the name of this upload', async () => {
          const isSame = sizeBytes === 0;
          const { headers: last } = isSame ? await download(peer(at + other).transfer, hash) : got;
          return String(last['content-disposition']).includes(encodeURIComponent(file.name));
        });
      }
    },
  );

  it('has a file’s blocks on every peer, all of them on none, each three times', async () => {
    const file = { name: 'spread.bin', seed: 'spread', sizeBytes: 64 * MiB };
    const { reply } = await upload(peer(0).chunker, file);
    await eventually(
      'the uploader dropped its surplus',
      async () => {
        const { holders, copies, state } = await health(peer(2).discovery, reply.cid);
        const held = holders.reduce((sum, { blocks }) => sum + blocks, 0);
        // 64 leaves three times, and the one manifest node on each of the five.
        return (
          state === 'safe' && copies === 3 && holders.length === PEERS && held === 64 * 3 + PEERS
        );
      },
      { timeoutMs: 30_000 },
    );
    const { holders, blocks, survivesPeers, disks } = await health(peer(4).discovery, reply.cid);
    for (const holder of holders) {
      expect(holder.blocks).toBeGreaterThan(0);
      expect(holder.blocks).toBeLessThan(blocks);
    }
    expect(survivesPeers).toBe(2);
    expect(disks).toBe(1); // five peers on this machine's disk: said, not hidden
  });

  it('takes different files, and the same file, from several clients at once', async () => {
    const same = { name: 'same.bin', seed: 'same', sizeBytes: 5 * MiB + 3 };
    const other = { name: 'other.bin', seed: 'other', sizeBytes: 3 * MiB };
    const answers = await Promise.all([
      upload(peer(0).chunker, same),
      upload(peer(1).chunker, same, { form: 'multipart' }),
      upload(peer(1).chunker, same, { form: 'put' }),
      upload(peer(2).chunker, other),
    ]);
    const [first, second, third, fourth] = answers.map(({ reply }) => reply.cid);
    expect(new Set([first, second, third]).size).toBe(1);
    expect(fourth).not.toBe(first);
    const hashes = await Promise.all(
      [3, 4, 0, 1].flatMap((at) => [
        download(peer(at).transfer, String(first)),
        download(peer(at).transfer, String(fourth)),
      ]),
    );
    const [sameSha, otherSha] = [
      await sha256Of(seededStream('same', same.sizeBytes)),
      await sha256Of(seededStream('other', other.sizeBytes)),
    ];
    expect(hashes.map(({ sha256 }) => sha256)).toEqual(
      [0, 1, 2, 3].flatMap(() => [sameSha, otherSha]),
    );
  });

  it('answers for the copies that the file is kept in, also when fewer are asked for now', async () => {
    const file = { name: 'twice.bin', seed: 'twice', sizeBytes: MiB + 5 };
    await upload(peer(0).chunker, file, { query: 'replicas=4&copies=4' });
    const { reply } = await upload(peer(1).chunker, file, { query: 'replicas=1' });
    expect(reply.replicas).toBe(4);
    expect(await health(peer(3).discovery, reply.cid)).toMatchObject({
      replicas: 4,
      state: 'safe',
    });
  });

  it('serves any range of a file through a peer, and only what is asked', async () => {
    const file = { name: 'ranges.txt', seed: 'ranges', sizeBytes: 3 * MiB + 17 };
    const bytes = seededBytes(file.seed, file.sizeBytes);
    const { reply } = await upload(peer(1).chunker, file);
    const { transfer } = peer(3);
    for (const [range, from, to] of [
      ['bytes=0-0', 0, 1],
      [`bytes=${MiB - 1}-${MiB}`, MiB - 1, MiB + 1],
      ['bytes=-5', file.sizeBytes - 5, file.sizeBytes],
      [`bytes=${2 * MiB}-`, 2 * MiB, file.sizeBytes],
    ] as const) {
      const got = await download(transfer, reply.cid, { headers: { range } });
      const wanted = bytes.subarray(from, to);
      expect(got).toMatchObject({
        status: 206,
        sizeBytes: wanted.length,
        sha256: createHash('sha256').update(wanted).digest('hex'),
      });
      expect(got.headers['content-range']).toBe(`bytes ${from}-${to - 1}/${file.sizeBytes}`);
    }
    const beyond = await download(transfer, reply.cid, {
      headers: { range: `bytes=${file.sizeBytes}-` },
    });
    expect(beyond).toMatchObject({
      status: 416,
      problem: { type: 'problems/range-not-satisfiable' },
    });
    expect(beyond.headers['content-range']).toBe(`bytes */${file.sizeBytes}`);
    const stale = await download(transfer, reply.cid, {
      headers: { range: 'bytes=0-0', 'if-range': '"other"' },
    });
    expect(stale).toMatchObject({ status: 200, sizeBytes: file.sizeBytes });
    const { statusCode } = await request(`${transfer}/files/${reply.cid}`, {
      headers: { 'if-none-match': `"${reply.cid}"` },
    });
    expect(statusCode).toBe(304);
    const head = await request(`${transfer}/files/${reply.cid}`, { method: 'HEAD' });
    expect(head.headers).toMatchObject({
      'content-length': String(file.sizeBytes),
      'content-type': 'text/plain; charset=utf-8',
      'accept-ranges': 'bytes',
    });
  });

  it('says within two seconds that nobody has a hash, and refuses what is none', async () => {
    const unknown = 'f'.repeat(64);
    const startedAtMs = performance.now();
    const got = await download(peer(2).transfer, unknown);
    expect(got).toMatchObject({
      status: 404,
      problem: { type: 'problems/file-not-found', hash: unknown },
    });
    expect(performance.now() - startedAtMs).toBeLessThan(2000);
    expect(await download(peer(2).transfer, 'not-a-hash')).toMatchObject({
      status: 400,
      problem: { type: 'problems/hash-invalid' },
    });
  });

  it('lists its files and its peers, the same on every peer', async () => {
    for (const { discovery, gateway } of swarm.peers) {
      const files = await request(`${gateway}/files?limit=1000`);
      const { files: listed } = discoveryRoutes.listFiles.reply.parse(await files.body.json());
      expect(listed.map(({ name }) => name)).toEqual(
        expect.arrayContaining(['spread.bin', 'same.bin', 'ranges.txt']),
      );
      const peers = await request(`${discovery}/peers`);
      const table = discoveryRoutes.listPeers.reply.parse(await peers.body.json());
      expect(table.peers.map(({ peerId }) => peerId).toSorted()).toEqual(
        swarm.peers.map(({ peerId }) => peerId).toSorted(),
      );
      expect(table.peers.every(({ state, blocks }) => state === 'alive' && blocks > 0)).toBe(true);
    }
  });

  it('is the same swarm with the same files after all of it stopped and started', async () => {
    const file = { name: 'kept.bin', seed: 'kept', sizeBytes: 4 * MiB };
    const { reply } = await upload(peer(0).chunker, file);
    const before = swarm.peers.map(({ peerId }) => peerId);
    const codes = await Promise.all(swarm.peers.map((each) => each.stop()));
    expect(codes).toEqual(before.map(() => 0));
    await Promise.all(swarm.peers.map((each) => each.start()));
    expect(swarm.peers.map(({ peerId }) => peerId)).toEqual(before);
    const sha256 = await sha256Of(seededStream(file.seed, file.sizeBytes));
    for (const { transfer } of swarm.peers)
      expect(
        await eventually('it is served', async () => {
          const got = await download(transfer, reply.cid);
          return got.status === 200 && got;
        }),
      ).toMatchObject({ sha256 });
  });
});
