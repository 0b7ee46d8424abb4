import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createDagBuilder, hashBlock, readLink } from '@shoal/blocks';
import { type Cid, MiB, ProblemBody, UploadReply } from '@shoal/protocol';
import type { CID } from 'multiformats/cid';
import { type Foreign, makeDag } from './dags.ts';
import { openStand, sample, type Stand, until } from './stand.ts';

const cidIn = (cid: CID): Cid => {
  const read = readLink(cid);
  if (read.kind !== 'block') throw new Error('no block');
  return read.cid;
};

/** A server that stands for a gateway; what it answers is changed by the tests. */
async function openGateway() {
  let answer: RequestListener = (_, response) => response.writeHead(404).end();
  let asked = 0;
  const server: Server = createServer((request, response) => {
    asked += 1;
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    get asked() {
      return asked;
    },
    does(listener: RequestListener) {
      answer = listener;
      asked = 0;
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
type TestGateway = Awaited<ReturnType<typeof openGateway>>;

/** Answers blocks as a trustless gateway does. */
const serving =
  ({ blocks }: Foreign, spoil = (bytes: Uint8Array) => bytes): RequestListener =>
  ({ url = '' }, response) => {
    const name = /^\/ipfs\/(\w+)\?format=raw$/.exec(url)?.[1];
    const block = blocks.find(({ cid }) => cidIn(cid) === name);
    if (block === undefined) response.writeHead(404).end('nobody has it');
    else
      response
        .writeHead(200, { 'content-type': 'application/vnd.ipld.raw' })
        .end(spoil(block.bytes));
  };

describe('a pin', () => {
  let stand: Stand;
  let gateways: readonly [TestGateway, TestGateway];
  beforeAll(async () => {
    gateways = [await openGateway(), await openGateway()];
    stand = await openStand({
      PIN_GATEWAYS: gateways.map(({ origin }) => origin).join(', '),
      PIN_GATEWAYS_ALLOW_PRIVATE: 'true',
      CHUNKER_COPIES_TIMEOUT_MS: '1000',
    });
  });
  afterAll(async () => {
    await stand[Symbol.asyncDispose]();
    for (const gateway of gateways) gateway.close();
  });
  afterEach(() => {
    for (const gateway of gateways) gateway.does((_, response) => response.writeHead(404).end());
  });
  const postTo = (origin: string, body: object) =>
    fetch(`${origin}/pins`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
  const post = (body: object) => postTo(stand.chunker.origin, body);
  const all = () => gateways.map(({ origin }) => origin);
  const problem = async (answer: Response) => {
    const { status, type, detail } = ProblemBody.parse(await answer.json());
    return `${status} ${type}: ${detail}`;
  };
  let seed = 0;
  /** A file that no other test has. */
  const fresh = (sizeBytes = 3 * MiB) => {
    seed += 1;
    return makeDag([{ content: new Uint8Array(sample(sizeBytes + seed).subarray(seed)) }]);
  };

  it('fetches from the swarm what is not here', async () => {
    const dag = await fresh();
    for (const { cid, bytes } of dag.blocks) stand.swarmBlocks.set(cidIn(cid), bytes);
    const answer = await post({ cid: dag.root.toString(), name: 'kept' });
    expect(answer.status).toBe(201);
    const reply = UploadReply.parse(await answer.json());
    expect(reply).toMatchObject({
      cid: dag.root.toString(),
      kind: 'file',
      name: 'kept',
      blocks: 4,
    });
    expect(answer.headers.get('location')).toBe(`./files/${dag.root.toString()}`);
    for (const { cid } of dag.blocks) expect(await stand.hasBlock(cidIn(cid))).toBe(true);
  });

  it('of what is kept already asks nobody for blocks', async () => {
    const dag = await fresh();
    for (const { cid, bytes } of dag.blocks) stand.swarmBlocks.set(cidIn(cid), bytes);
    const first = UploadReply.parse(
      await (await post({ cid: dag.root.toString(), name: 'n' })).json(),
    );
    stand.swarmBlocks.clear();
    const again = UploadReply.parse(await (await post({ cid: dag.root.toString() })).json());
    expect(again).toEqual(first);
  });

  it('of what is kept already claims no copy that nobody has', async () => {
    const dag = await fresh();
    for (const { cid, bytes } of dag.blocks) stand.swarmBlocks.set(cidIn(cid), bytes);
    const root = dag.root.toString();
    await post({ cid: root, replicas: 1 });
    stand.swarm.copies = 0;
    for (const copies of [0, 1]) {
      const answer = await post({ cid: root, replicas: 1, copies });
      const { copies: confirmed, state } = UploadReply.parse(await answer.json());
      expect([answer.status, confirmed, state]).toEqual([202, 0, 'spreading']); // as health says
    }
    stand.swarm.copies = 1;
    expect((await post({ cid: root, replicas: 1 })).status).toBe(201);
  });

  it('fetches from a gateway what the swarm lacks, in any spelling of the CID', async () => {
    const dag = await makeDag([{ path: 'd/f', content: new Uint8Array(sample(40_000)) }], {
      profile: 'unixfs-v0-2015',
    });
    gateways[0].does(serving(dag));
    const answer = await post({ cid: dag.root.toString(), gateways: all() });
    expect(dag.root.toString()).toMatch(/^Qm/);
    const reply = UploadReply.parse(await answer.json());
    expect(reply).toMatchObject({ cid: cidIn(dag.root), kind: 'directory', sizeBytes: 40_000 });
  });

  it('goes to the next gateway when one lies, and asks the liar no more', async () => {
    const dag = await fresh();
    gateways[0].does(serving(dag, (bytes) => Uint8Array.from(bytes).reverse()));
    gateways[1].does(serving(dag));
    const answer = await post({ cid: dag.root.toString(), gateways: all() });
    expect(answer.status).toBe(201);
    expect(gateways[0].asked).toBe(1);
    for (const { cid } of dag.blocks) expect(await stand.hasBlock(cidIn(cid))).toBe(true);
  });

  it('goes to the next gateway when one is broken, too long, or redirects', async () => {
    for (const breakIt of [
      (_: unknown, response: Parameters<RequestListener>[1]) => response.writeHead(500).end(),
      (_: unknown, response: Parameters<RequestListener>[1]) =>
        response.writeHead(302, { location: gateways[1].origin }).end(),
      (_: unknown, response: Parameters<RequestListener>[1]) =>
        response.writeHead(200).end(new Uint8Array(3 * MiB)),
      (_: unknown, response: Parameters<RequestListener>[1]) => void response.destroy(),
    ]) {
      const dag = await fresh(2 * MiB);
      gateways[0].does(breakIt as RequestListener);
      gateways[1].does(serving(dag));
      expect((await post({ cid: dag.root.toString(), gateways: all() })).status).toBe(201);
      expect(gateways[0].asked).toBeGreaterThan(0);
    }
  });

  it('waits for a gateway that hangs no longer than it must', async () => {
    const dag = await fresh(MiB / 2);
    gateways[0].does(() => {}); // no answer, ever
    gateways[1].does(serving(dag));
    const startMs = performance.now();
    expect((await post({ cid: dag.root.toString(), gateways: all() })).status).toBe(201);
    expect(performance.now() - startMs).toBeLessThan(20_000);
  }, 30_000);

  it('that can not be made whole says which block and who was asked, and goes on later', async () => {
    const dag = await fresh();
    const lacking = { ...dag, blocks: dag.blocks.slice(1) };
    gateways[0].does(serving(lacking));
    const said = await problem(await post({ cid: dag.root.toString(), gateways: all() }));
    expect(said).toMatch(/^404 problems\/dag-incomplete/);
    for (const part of [cidIn(dag.blocks[0]?.cid ?? dag.root), ...all(), 'it answered 404'])
      expect(said).toContain(part);
    expect(stand.pins.has(dag.root.toString())).toBe(false);
    gateways[0].does(serving(dag));
    expect((await post({ cid: dag.root.toString(), gateways: all() })).status).toBe(201);
    expect(gateways[0].asked).toBeLessThan(dag.blocks.length);
  });

  it('of a caller that leaves is not made, and goes on later', async () => {
    const dag = await fresh();
    const leave = new AbortController();
    let asked = 0;
    const serve = serving(dag);
    gateways[0].does((request, response) => {
      asked += 1;
      if (asked === 3) leave.abort();
      else serve(request, response);
    });
    const body = JSON.stringify({ cid: dag.root.toString(), gateways: all() });
    const headers = { 'content-type': 'application/json' };
    const init = { method: 'POST', body, headers, signal: leave.signal };
    await expect(fetch(`${stand.chunker.origin}/pins`, init)).rejects.toThrow(/abort/);
    gateways[0].does(serve);
    expect((await post({ cid: dag.root.toString(), gateways: all() })).status).toBe(201);
  });

  it('of what contradicts itself keeps nothing', async () => {
    const builder = createDagBuilder();
    const leaf = Buffer.from('four');
    const cid = hashBlock('raw', leaf);
    for (let at = 0; at < 2; at += 1) builder.addLeaf({ cid, sizeBytes: 5 });
    const { root, nodes } = builder.finish();
    stand.swarmBlocks.set(cid, leaf);
    for (const node of nodes) stand.swarmBlocks.set(node.cid, node.bytes);
    const { blocks } = await stand.stats();
    expect(await problem(await post({ cid: root }))).toMatch(/^422 problems\/manifest-invalid/);
    await until('nothing is left', async () => (await stand.stats()).blocks === blocks);
  });

  it.each([
    [{ cid: 'zzz' }, /^400 problems\/hash-invalid/],
    [{ cid: 'bafkqabtimvwgy3yk' }, /^400 .*holds its bytes itself/],
    [{ cid: 'bafyreigaknpexyvxt76zgkitavbwx6ejgfheup5oybpm77f3pxzrvwpfdi' }, /cid-unsupported/],
    [
      { cid: hashBlock('raw', Buffer.from('x')), gateways: ['https://other.example'] },
      /^403 .*PIN_GATEWAYS/,
    ],
    [{ cid: hashBlock('raw', Buffer.from('x')), gateways: ['ftp://a.example'] }, /^400/],
    [{ cid: hashBlock('raw', Buffer.from('x')), name: 'a/b' }, /^400 problems\/file-name-invalid/],
    [{ name: 'no cid' }, /^400 problems\/request-invalid/],
  ])('refuses %j', async (body, words) => {
    expect(await problem(await post(body))).toMatch(words);
  });

  it('refuses gateways by path, by name that resolves inwards, and by private address', async () => {
    const [gateway] = gateways;
    const cid = hashBlock('raw', Buffer.from('nowhere'));
    const withPath = `${gateway.origin}/ipfs`;
    expect(await problem(await post({ cid, gateways: [withPath] }))).toMatch(/^403 .*origin/);
    const byName = `http://localhost:${gateway.port}`;
    await using strict = await openStand({ PIN_GATEWAYS: `${gateway.origin},${byName}` });
    const { origin } = strict.chunker;
    expect(await problem(await postTo(origin, { cid, gateways: [gateway.origin] }))).toMatch(
      /^403 .*PIN_GATEWAYS_ALLOW_PRIVATE/,
    );
    const named = await problem(await postTo(origin, { cid, gateways: [byName] }));
    expect(named).toMatch(/^404 .*localhost resolves to .* which is private/);
    expect(gateway.asked).toBe(0);
  });

  it('names no gateway when none is allowed', async () => {
    await using closed = await openStand();
    const body = { cid: hashBlock('raw', Buffer.from('x')), gateways: ['https://ipfs.example'] };
    const said = await problem(await postTo(closed.chunker.origin, body));
    expect(said).toMatch(/^403 problems\/gateway-refused: .*PIN_GATEWAYS/);
  });
});
