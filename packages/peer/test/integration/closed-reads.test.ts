/** A peer whose reads need a token: every route of every service, asked by those who have none, or not the right one. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openIdentity } from '@shoal/chassis';
import { Cid, kuboRoutes, peerAudit, type Right } from '@shoal/protocol';
import { createTestRoster, eventually, upload } from '@shoal/testkit';
import { type Answered, type Asked, type OpenPeer, openPeer } from './every-route.ts';

const OTHER = Cid.parse('bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e');
const CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
const JSON_BODY = { 'content-type': 'application/json' };
const owner = createTestRoster();
const stranger = createTestRoster();
const revoked = owner.token(['admin']);
/** This peer is a member, and one token is revoked. */
const rosterOf = (dataDir: string) => [
  owner.add(openIdentity(join(dataDir, 'identity.key')).peerId),
  owner.revoke(revoked.id),
];
const bearer = (text: string) => ({ authorization: `Bearer ${text}` });

/** What is there for everybody: probes, the page that asks for the token, the routes' description, and a browser's questions. */
const OPEN = /^(?:GET|HEAD) \/(?:healthz|readyz|openapi\.json|console\/.*)?$|^OPTIONS \/(?!api)/;
const ADMIN =
  /^(?:(?:POST|DELETE) \/(?:scrub|sweep|drain|roster|invitations)|(?:GET|HEAD) \/audit)$/;
const isOpen = ({ method, route }: Asked) => OPEN.test(`${method} ${route}`);
const needs = ({ method, route }: Asked): Right => {
  if (ADMIN.test(`${method} ${route}`)) return 'admin';
  if (route.startsWith('/uploads')) return 'write';
  if (route.startsWith('/api/v0/')) return 'read';
  if (method === 'DELETE') return 'delete';
  return /^(?:GET|HEAD)$/.test(method) ? 'read' : 'write';
};
const nameOf = ({ at, asked, status }: Answered) =>
  `${at}: ${asked.method} ${asked.route}: ${status}`;
const isRefusal = ({ asked, status }: Answered) =>
  status === 401 || status === 403 || (status >= 404 && asked.route.startsWith('/api/v0/'));

describe('a peer whose reads need a token', () => {
  let peer: OpenPeer;
  beforeAll(async () => {
    peer = await openPeer({}, { READ: 'token' }, (dataDir) => {
      owner.write(dataDir, rosterOf(dataDir));
    });
    // There is something to be had under the CID that is asked for.
    const put = await fetch(`${peer.peer.origins.gateway}/files/empty?copies=1`, {
      method: 'PUT',
      headers: bearer(owner.token(['write']).text),
    });
    const { cid } = (await put.json()) as { cid?: string };
    if (cid !== CID) throw new Error(`the empty file is ${cid}`);
  }, 120_000);
  afterAll(async () => {
    await peer[Symbol.asyncDispose]();
  });

  /** What is answered at all ports, where the route is there. */
  const answersTo = async (
    headers: Record<string, string>,
    only: (asked: Asked) => boolean = () => true,
  ) => {
    const answers = await peer.askAll(() => ({ ...JSON_BODY, ...headers }), {
      only: (asked) => !isOpen(asked) && only(asked),
    });
    return answers.filter(({ isThere }) => isThere);
  };

  it.each([
    ['no token', {}],
    ['a word that is none', bearer('correct-horse-battery')],
    ['a token as the user of Basic', { authorization: `Basic ${btoa('me:correct-horse')}` }],
    ['a token that ended', bearer(owner.token(['admin'], { expiresAtMs: 1 }).text)],
    ['a token that was revoked', bearer(revoked.text)],
    ['a token of another swarm', bearer(stranger.token(['admin']).text)],
    ['a token for another file', bearer(owner.token(['admin'], { only: OTHER }).text)],
    ['the method by another name', { 'x-http-method-override': 'GET' }],
  ])('answers nothing to %s', async (_, headers) => {
    const answers = await answersTo(headers);
    expect(answers.length).toBeGreaterThan(100);
    expect(answers.filter((answer) => !isRefusal(answer)).map(nameOf)).toEqual([]);
  });

  it.each([
    ['no token', {}],
    ['a token that ended', bearer(owner.token(['admin'], { expiresAtMs: 1 }).text)],
    ['a token that was revoked', bearer(revoked.text)],
    ['a token for another file', bearer(owner.token(['admin'], { only: OTHER }).text)],
    ['a token without rights to it', bearer(owner.token(['delete']).text)],
  ])('answers no command of Kubo’s to %s', async (what, headers) => {
    for (const name of Object.keys(kuboRoutes)) {
      // A raw block has no links, as its CID says.
      const isAboutNothing = /^(?:version|ls)$/.test(name) && what.includes('file');
      const isItsRight = name === 'pin/rm' && what.includes('rights');
      if (isAboutNothing || isItsRight) continue;
      const url = `${peer.peer.origins.gateway}/api/v0/${name}?arg=${CID}`;
      const answer = await fetch(url, { method: 'POST', headers });
      expect([name, answer.status >= 400, await answer.text()]).toEqual([
        name,
        true,
        expect.stringMatching(/token|RPC is closed|was not found/),
      ]);
    }
  });

  it.each<Right>(['read', 'write', 'delete'])(
    'answers a token that may %s nothing else',
    async (right) => {
      const headers = bearer(owner.token([right]).text);
      const answers = await answersTo(headers, (asked) => needs(asked) !== right);
      expect(answers.length).toBeGreaterThan(20);
      expect(answers.filter((answer) => !isRefusal(answer)).map(nameOf)).toEqual([]);
    },
  );

  it('answers a token that may read what is public', async () => {
    const headers = bearer(owner.token(['read']).text);
    const isAsked = ({ method, route }: Asked) =>
      /^(?:GET|HEAD)$/.test(method) && !/^\/(?:uploads|events|api|audit)/.test(route);
    const answers = (await answersTo(headers, isAsked)).filter(
      ({ text }) => !text.includes('proof-refused'),
    );
    expect(answers.length).toBeGreaterThan(20);
    const isHead = ({ asked }: Answered) => asked.method === 'HEAD'; // of routes between peers too
    expect(answers.filter((answer) => isRefusal(answer) && !isHead(answer)).map(nameOf)).toEqual(
      [],
    );
  });

  it('shows its audit to administrators alone, where tokens go by their ids', async () => {
    const url = `${peer.peer.origins.gateway}/audit?kind=token-used`;
    const reading = owner.token(['read', 'write', 'delete']);
    expect((await fetch(url, { headers: bearer(reading.text) })).status).toBe(403);
    await fetch(`${peer.peer.origins.gateway}/files`, { headers: bearer(reading.text) });
    const answer = await fetch(url, { headers: bearer(owner.token(['admin']).text) });
    const { events } = peerAudit.reply.parse(await answer.json());
    expect(events.map(({ service, token }) => [service, token])).toContainEqual([
      'gateway',
      reading.id,
    ]);
  });

  it('serves its events to it, and to nobody else', async () => {
    const url = `${peer.peer.origins.gateway}/events`;
    expect((await fetch(url)).status).toBe(401);
    const stop = new AbortController();
    const headers = bearer(owner.token(['read']).text);
    const { status } = await fetch(url, { headers, signal: stop.signal });
    stop.abort();
    expect(status).toBe(200);
  });

  it('stays open where it says how it is, and where it asks for the token', async () => {
    const answers = await peer.askAll(() => ({}), { only: isOpen });
    const there = answers.filter(({ isThere }) => isThere);
    expect(there.length).toBeGreaterThan(15);
    expect(there.filter(isRefusal).map(nameOf)).toEqual([]);
  });

  it('takes files from a drop box, and gives them to who may read, or has a token for them alone', async () => {
    const { gateway, chunker, transfer } = peer.peer.origins;
    const box = owner.token(['write'], { maxBytes: 5000 });
    const put = (origin: string, name: string, text: string) =>
      fetch(`${origin}/files/${name}?copies=1`, {
        method: 'PUT',
        body: text,
        headers: bearer(box.text),
      });
    const first = await put(gateway, 'first', 'a'.repeat(3000));
    expect(first.status).toBe(201);
    const { cid: text } = (await first.json()) as { cid: string };
    const cid = Cid.parse(text);
    expect((await put(chunker, 'second', 'b'.repeat(3000))).status).toBe(413);
    const one = owner.token(['read'], { only: cid });
    const sha256 = Buffer.from(
      await crypto.subtle.digest('SHA-256', Buffer.from('a'.repeat(3000))),
    ).toString('hex');
    for (const origin of [gateway, transfer]) {
      const statusOf = async (path: string, token?: string) =>
        (await fetch(origin + path, token === undefined ? {} : { headers: bearer(token) })).status;
      for (const path of [
        `/files/${cid}`,
        `/ipfs/${cid}`,
        `/files/${sha256}`,
        `/files/${cid}.torrent`,
      ]) {
        expect([path, await statusOf(path)]).toEqual([path, 401]);
        expect([path, await statusOf(path, box.text)]).toEqual([path, 403]);
        expect([path, await statusOf(path, one.text)]).toEqual([path, 200]);
        expect([path, await statusOf(path, owner.token(['read']).text)]).toEqual([path, 200]);
      }
      for (const path of [`/files/${cid}`, `/ipfs/${cid}`, `/ipfs/${cid}?format=car`]) {
        const answer = await fetch(origin + path, { headers: bearer(one.text) });
        expect([path, answer.headers.get('cache-control')]).toEqual([
          path,
          expect.stringMatching(/^private, /),
        ]);
        await answer.body?.cancel();
      }
      expect(await statusOf(`/ipfs/${OTHER}`, one.text)).toBe(403);
      expect(await statusOf(`/files/${'0'.repeat(64)}`, one.text)).toBe(403);
    }
  });

  it('runs commands of Kubo’s with the rights of their token, and counts what they put', async () => {
    const { gateway } = peer.peer.origins;
    const rpc = (command: string, token: string, body?: FormData) =>
      fetch(`${gateway}/api/v0/${command}`, {
        method: 'POST',
        headers: bearer(token),
        ...(body === undefined ? {} : { body }),
      });
    const form = (text: string) => {
      const made = new FormData();
      made.append('file', new Blob([text]), 'kubo.txt');
      return made;
    };
    const reader = owner.token(['read']).text;
    const box = owner.token(['write'], { maxBytes: 10 }).text;
    const cat = await rpc(`cat?arg=${CID}`, reader);
    expect([cat.status, await cat.text()]).toEqual([200, '']);
    expect((await rpc('add', reader, form('x'))).status).toBe(403);
    expect((await rpc(`cat?arg=${CID}`, box)).status).toBe(403);
    const added = await rpc('add', box, form('12345678'));
    expect([added.status, await added.text()]).toEqual([200, expect.stringContaining('kubo.txt')]);
    const more = await rpc('add', box, form('abcdefgh'));
    expect(await more.text()).toContain('may have 10 bytes together, of which 2 are left');
  });

  it('lets a token without the right to delete change and end its own files alone', async () => {
    const { gateway } = peer.peer.origins;
    const mine = owner.token(['write']);
    const theirs = owner.token(['write']);
    const put = await fetch(`${gateway}/files/c?copies=1`, {
      method: 'PUT',
      body: 'of one',
      headers: bearer(mine.text),
    });
    const { cid } = (await put.json()) as { cid: string };
    const rename = async (token: string) => {
      const answer = await fetch(`${gateway}/files/${cid}`, {
        method: 'PATCH',
        body: JSON.stringify({ name: 'other' }),
        headers: { ...JSON_BODY, ...bearer(token) },
      });
      return answer.status;
    };
    expect(await rename(theirs.text)).toBe(403);
    expect(await rename(mine.text)).toBe(200);
    expect(await rename(owner.token(['write', 'delete']).text)).toBe(200);
  });

  it('refuses a token soon after it was revoked, at every service', async () => {
    const { id, text } = owner.token(['read']);
    const ask = () =>
      Promise.all(
        Object.values(peer.peer.origins).map(
          async (origin) => (await fetch(`${origin}/metrics`, { headers: bearer(text) })).status,
        ),
      );
    expect(new Set(await ask())).toEqual(new Set([200]));
    const told = await fetch(`${peer.peer.origins.gateway}/roster`, {
      method: 'POST',
      body: JSON.stringify({ records: [owner.revoke(id)] }),
      headers: { ...JSON_BODY, ...bearer(owner.token(['admin']).text) },
    });
    expect(told.status).toBe(200);
    await eventually('all refuse it', async () => (await ask()).every((status) => status === 401));
  });
});

describe('a peer whose reads need a token, but for some', () => {
  it('gives those to everybody, and nothing else', async () => {
    await using peer = await openPeer(
      {},
      { READ: 'token', READ_PUBLIC: 'ipfs, torrents', WRITE_TOKEN: 'a-token-of-this-peer' },
    );
    const { origins } = peer.peer;
    const put = await upload(
      origins.chunker,
      { name: 'a', seed: 'open', sizeBytes: 10 },
      {
        query: 'copies=1',
        headers: bearer('a-token-of-this-peer'),
      },
    );
    const { cid } = put.reply;
    const statusOf = async (path: string) => (await fetch(origins.gateway + path)).status;
    expect(await statusOf(`/ipfs/${cid}`)).toBe(200);
    expect(await statusOf(`/files/${cid}.torrent`)).toBe(200);
    for (const path of [`/files/${cid}`, '/files', '/peers', `/routing/v1/providers/${cid}`])
      expect([path, await statusOf(path)]).toEqual([path, 401]);
  });
});
