/** Every route of every service, at every port, asked as strangers' pages make a browser ask. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SERVICES } from '@shoal/protocol';
import { type Answered, type Asked, type OpenPeer, openPeer } from './every-route.ts';

const EVIL = 'https://evil.example';
const CONFIGURED = 'files.team.example';
const ADVERTISED = 'one.peers.example';

let peer: OpenPeer;
beforeAll(async () => {
  peer = await openPeer({ advertiseHost: ADVERTISED }, { GATEWAY_HOST_NAMES: CONFIGURED });
});
afterAll(async () => {
  await peer[Symbol.asyncDispose]();
});

describe('every route at every port', () => {
  it('is known', () => {
    const known = peer.routes.map(({ method, route }) => `${method} ${route}`);
    for (const each of [
      'GET /',
      'GET /console/console.js',
      'GET /events',
      'GET /metrics',
      'GET /ipfs/*',
      'OPTIONS /routing/v1/*',
      'PATCH /uploads/:id',
      'POST /api/v0/*',
      'POST /drain',
      'DELETE /files/:hash',
    ])
      expect(known).toContain(each);
    expect(known.length).toBeGreaterThan(100);
  });

  it('is refused by a name that was moved here', async () => {
    const answers = await peer.askAll((port) => ({ host: `evil.example:${port}` }));
    expect(othersThan(answers, 403, 'does not answer as')).toEqual([]);
    // With the page's own origin beside it, as such a page writes.
    const writes = await peer.askAll((port) => ({
      host: `evil.example:${port}`,
      origin: `http://evil.example:${port}`,
    }));
    expect(othersThan(writes, 403, 'does not answer as')).toEqual([]);
  });

  it('is refused when the request line names another host than the header', async () => {
    const answers = await peer.askAll(() => ({}), { prefix: 'http://evil.example' });
    expect(othersThan(answers, 403, 'does not answer as')).toEqual([]);
  });

  it('is refused with two Host headers', async () => {
    const answers = await peer.askAll((port) => ({
      host: `127.0.0.1:${port}`,
      Host: 'evil.example',
    }));
    expect(othersThan(answers, 400, 'given more than once')).toEqual([]);
  });

  it.each([
    ['of another site', { origin: EVIL }],
    ['of another port', { origin: 'http://127.0.0.1:1' }],
    ['without a site', { origin: 'null' }],
    ['that embeds', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }],
  ])('answers a page %s public reads alone', async (_, headers) => {
    const isPublic = ({ method, route }: Asked) =>
      /^(?:GET|HEAD|OPTIONS)$/.test(method) && /^\/(?:ipfs|routing\/v1)\//.test(route);
    const answers = await peer.askAll(() => headers);
    const refused = answers.filter(({ asked }) => !isPublic(asked));
    expect(othersThan(refused, 403, 'came from a web page')).toEqual([]);
    expect(refused.filter(({ opensTo }) => opensTo !== undefined)).toEqual([]);
    expect(refused.filter(({ policy }) => policy !== 'same-origin')).toEqual([]);
    const open = answers.filter(({ asked }) => isPublic(asked));
    expect(open.length).toBeGreaterThan(30);
    expect(open.filter(({ status }) => status === 403)).toEqual([]);
    expect(open.filter(({ opensTo }) => opensTo !== '*')).toEqual([]);
  });

  it('can not be read by pages of others where a browser says nothing of them', async () => {
    for (const service of SERVICES)
      for (const path of ['/healthz', '/metrics', '/openapi.json', '/files', '/nothing'])
        expect(await peer.ask(service, { method: 'GET', route: path })).toMatchObject({
          opensTo: undefined,
          policy: 'same-origin',
        });
  });
});

describe('what is asked for by a page of this peer, or by a program', () => {
  it.each([
    'localhost:7100',
    '[::1]:7100',
    'nas',
    'nas.local',
    `${CONFIGURED}:8443`,
    `${ADVERTISED}:7102`,
    '192.0.2.9',
  ])('is answered under %s at every port', async (host) => {
    for (const service of SERVICES)
      for (const origin of [undefined, `http://${host}`])
        expect(
          await peer.ask(
            service,
            { method: 'GET', route: '/healthz' },
            { host, ...(origin && { origin }) },
          ),
        ).toMatchObject({ status: 200 });
  });
});

/** Those that did not get the one answer; HEAD has no body, and Kubo's RPC a form of its own. */
function othersThan(answers: readonly Answered[], status: number, words: string): Answered[] {
  expect(answers.length).toBeGreaterThan(100);
  return answers.filter(
    (answer) =>
      answer.status !== status || (answer.asked.method !== 'HEAD' && !answer.text.includes(words)),
  );
}
