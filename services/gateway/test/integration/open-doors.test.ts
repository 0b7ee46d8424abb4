/** What strangers may do at the front door: ask the router from any page, write with the token alone. */
import type { IncomingMessage, RequestListener } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { ProblemBody } from '@shoal/protocol';
import { request } from 'undici';
import { openGateway } from './support.ts';

const FOREIGN = { origin: 'https://app.example' };
const TOKEN = 'a-token-of-this-peer';

function echo(seen: IncomingMessage[]): RequestListener {
  return (incoming, outgoing) => {
    seen.push(incoming);
    incoming.resume().once('end', () => {
      outgoing.writeHead(200, { 'access-control-allow-origin': '*' }).end('{}');
    });
  };
}

describe('the router at the front door', () => {
  it('is reached by GET, HEAD and OPTIONS, with any path, from pages too', async () => {
    const seen: IncomingMessage[] = [];
    await using gateway = await openGateway({ discovery: echo(seen) });
    const asked = [
      ['GET', '/routing/v1/providers/bafy?filter-addrs=tcp'],
      ['HEAD', '/routing/v1/peers/12D3'],
      ['OPTIONS', '/routing/v1/providers/bafy'],
      ['GET', '/routing/v1/ipns/k51'],
      ['OPTIONS', '/routing/v1/dht/closest/peers/x'],
    ] as const;
    for (const [method, path] of asked) {
      const headers = { ...FOREIGN, accept: 'application/x-ndjson' };
      const answer = await request(`${gateway.origin}${path}`, { method, headers });
      expect([answer.statusCode, answer.headers['access-control-allow-origin']]).toEqual([
        200,
        '*',
      ]);
      await answer.body.dump();
    }
    expect(seen.map(({ method, url }) => [method, url])).toEqual(asked);
    expect(seen[0]?.headers.accept).toBe('application/x-ndjson');
  });

  it('tells pages too when nobody is behind the door', async () => {
    await using gateway = await openGateway({});
    for (const path of ['/routing/v1/providers/bafy', '/ipfs/bafy']) {
      const answer = await request(`${gateway.origin}${path}`, { headers: FOREIGN });
      expect([answer.statusCode, answer.headers['access-control-allow-origin']]).toEqual([
        503,
        '*',
      ]);
      await answer.body.dump();
    }
  });

  it('takes nothing', async () => {
    await using gateway = await openGateway({ discovery: echo([]) });
    const url = `${gateway.origin}/routing/v1/providers/bafy`;
    const answer = await request(url, { method: 'PUT', body: '{}' });
    expect([answer.statusCode, answer.headers['allow']]).toEqual([405, 'GET, HEAD, OPTIONS']);
    await answer.body.dump();
  });
});

describe('a page of a stranger', () => {
  it('writes nothing, by whatever name the method goes', async () => {
    const seen: IncomingMessage[] = [];
    await using gateway = await openGateway({ discovery: echo(seen), chunker: echo(seen) });
    for (const method of ['GET', 'POST'] as const)
      for (const override of ['GET', 'DELETE']) {
        const headers = { ...FOREIGN, 'x-http-method-override': override };
        const answer = await request(`${gateway.origin}/files`, { method, headers });
        expect(answer.statusCode).toBe(403);
        await answer.body.dump();
      }
    expect(seen).toEqual([]);
  });
});

describe('a front door with a write token', () => {
  it('refuses writes without it, and passes it on with the others', async () => {
    const seen: IncomingMessage[] = [];
    await using gateway = await openGateway(
      { chunker: echo(seen), discovery: echo(seen) },
      { WRITE_TOKEN: TOKEN },
    );
    const put = (headers: Record<string, string>) =>
      request(`${gateway.origin}/files/a`, { method: 'PUT', body: 'x', headers });
    const refused = await put({});
    expect([refused.statusCode, refused.headers['www-authenticate']]).toEqual([401, 'Bearer']);
    expect(ProblemBody.parse(await refused.body.json()).type).toBe('problems/token-required');
    const wrong = await put({ authorization: 'Bearer another-token-here' });
    expect(ProblemBody.parse(await wrong.body.json()).type).toBe('problems/token-wrong');
    expect(seen).toEqual([]);
    const taken = await put({ authorization: `Bearer ${TOKEN}` });
    expect(taken.statusCode).toBe(200);
    await taken.body.dump();
    expect(seen[0]?.headers.authorization).toBe(`Bearer ${TOKEN}`);
    const read = await request(`${gateway.origin}/files`);
    expect(read.statusCode).toBe(200);
    await read.body.dump();
  });
});
