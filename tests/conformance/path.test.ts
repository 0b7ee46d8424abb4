/** The path gateway: ways through directories, listings, caching, names (specs.ipfs.tech/http-gateways/path-gateway). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Ask, ask, escaped } from './ask.ts';
import type { Fixture } from '../fixtures/fixture.ts';
import { makeCar, makeDirectory, rawLeaf } from './make-dag.ts';
import { ABSENT, ABSENT_V0, DOORS, HELLO, IMMUTABLE, type Rig, openRig } from './rig.ts';

const LISTING = 'dir_listing_fixtures';
const CACHE = 'gateway-cache_fixtures';
const FILES = 'path_gateway_unixfs_dir-with-files';
const PERCENT = 'path_gateway_unixfs_dir-with-percent-encoded-filename';
const SYMLINK = 'path_gateway_unixfs_symlink';
const SHARDED = 'trustless_gateway_car_single-layer-hamt-with-multi-block-files';
const ODD_NAMES = 'path_gateway_tar_inside-root';
const LISTING_CACHING = [undefined, 'public, max-age=604800, stale-while-revalidate=2678400'];
const INDEX = ['root2', 'root3', 'root4', 'index.html'] as const;
const UTF8_FILE = ['ą', 'ę', 'file-źł.txt'] as const;

describe('path gateway', () => {
  let rig: Rig;
  let listing: Fixture;
  let cache: Fixture;
  let files: Fixture;
  beforeAll(async () => {
    rig = await openRig([LISTING, CACHE, FILES, PERCENT, SYMLINK, SHARDED, ODD_NAMES]);
    listing = rig.fixture(LISTING);
    cache = rig.fixture(CACHE);
    files = rig.fixture(FILES);
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });

  describe.each(DOORS)('at %s', (door) => {
    const get = (path: string, headers: Record<string, string> = {}, options: Ask = {}) =>
      ask(rig.originOf(door), path, { ...options, headers });
    const index = (): string => `/ipfs/${cache.root}/${INDEX.join('/')}`;
    const ascii = (): string => `/ipfs/${files.root}/ascii.txt`;

    it('M: what is not available is 404, not 5xx, and soon', async () => {
      for (const cid of [ABSENT, ABSENT_V0]) {
        const { status, tookMs } = await get(`/ipfs/${cid}`);
        expect([cid, status]).toEqual([cid, 404]);
        expect(tookMs).toBeLessThan(5000);
      }
    });

    it('M: a path segment that is missing is 404, and the body names it', async () => {
      for (const path of [`/ipfs/${listing.root}/i-do-not-exist`, `${ascii()}/i-do-not-exist`]) {
        const { status, body } = await get(path);
        expect([path, status]).toEqual([path, 404]);
        expect(body.toString()).toContain('i-do-not-exist');
      }
    });

    it('M: an invalid CID is 400', async () => {
      for (const text of ['not-a-cid', 'bafyinvalid', 'Qm'])
        expect([text, (await get(`/ipfs/${text}/file`)).status]).toEqual([text, 400]);
    });

    it('S: an error is plain text, and a problem for those who accept JSON', async () => {
      const missing = `/ipfs/${listing.root}/i-do-not-exist`;
      expect((await get(missing)).headers['content-type']).toMatch(/^text\/plain/);
      const { headers, body } = await get(missing, { accept: 'application/json' });
      expect(headers['content-type']).toMatch(/^application\/problem\+json/);
      expect(JSON.parse(body.toString())).toMatchObject({ status: 404 });
    });

    it.each(['dag-json', 'dag-cbor', 'json', 'cbor'])(
      'S: ?format=%s of dag-pb is 406',
      async (format) => {
        expect((await get(`/ipfs/${files.root}/?format=${format}`)).status).toBe(406);
      },
    );

    it('M: a directory without a final slash is 301 to the same with it', async () => {
      const utf8 = await get(escaped(`/ipfs/${listing.root}/ą/ę`));
      expect(utf8.status).toBe(301);
      expect(utf8.headers.location).toBe(`/ipfs/${listing.root}/%C4%85/%C4%99/`);
      const root = await get(`/ipfs/${listing.root}`);
      expect([root.status, root.headers.location]).toEqual([301, `/ipfs/${listing.root}/`]);
      const query = await get(`/ipfs/${listing.root}/ipfs?filename=a.txt`);
      expect(query.headers.location).toBe(`/ipfs/${listing.root}/ipfs/?filename=a.txt`);
    });

    it('M: a file with a final slash is not served as if it were a directory', async () => {
      expect((await get(`${ascii()}/`)).status).toBeGreaterThanOrEqual(300);
    });

    it('M: index.html is served in place of a listing, with the ETag of the directory', async () => {
      const folder = ['root2', 'root3', 'root4'];
      const { status, headers, body } = await get(`/ipfs/${cache.root}/${folder.join('/')}/`);
      expect(status).toBe(200);
      expect(body.equals(cache.fileOf(...INDEX))).toBe(true);
      expect(headers).toMatchObject({
        'cache-control': IMMUTABLE,
        etag: `"${cache.cidOf(...folder)}"`,
        'x-ipfs-path': `/ipfs/${cache.root}/${folder.join('/')}/`,
        'x-ipfs-roots': cache.wayTo(...folder).join(','),
      });
      expect(headers['content-type']).toMatch(/^text\/html/);
    });

    it('M: a file may be kept for ever, with the CID as its ETag', async () => {
      const { headers } = await get(index());
      expect(headers).toMatchObject({
        'cache-control': IMMUTABLE,
        etag: `"${cache.cidOf(...INDEX)}"`,
      });
    });

    it('S: X-Ipfs-Path is what was asked for; X-Ipfs-Roots has a CID for each segment', async () => {
      const path = escaped(`/ipfs/${listing.root}/${UTF8_FILE.join('/')}`);
      const { headers } = await get(path);
      expect(headers['x-ipfs-path']).toBe(path);
      expect(headers['x-ipfs-roots']).toBe(listing.wayTo(...UTF8_FILE).join(','));
    });

    it('M: a listing is not immutable, and its ETag is DirIndex-…_CID-<cid>', async () => {
      const { status, headers } = await get(`/ipfs/${cache.root}/root2/root3/`);
      expect(status).toBe(200);
      expect(LISTING_CACHING).toContain(headers['cache-control']);
      const folder = cache.cidOf('root2', 'root3');
      expect(headers.etag).toMatch(new RegExp(`^(W/)?"DirIndex-[^"]+_CID-${folder}"$`));
      expect(headers['x-ipfs-roots']).toBe(cache.wayTo('root2', 'root3').join(','));
      expect(headers['content-type']).toMatch(/^text\/html/);
    });

    it('C: a listing names its entries, links to them and to the directory above', async () => {
      const base = `/ipfs/${listing.root}`;
      const path = escaped(`${base}/ą/ę/`);
      const html = (await get(path)).body.toString();
      expect(html).toContain('Index of');
      expect(html).toContain('>file-źł.txt<');
      expect(linksOf(html, path)).toEqual(
        expect.arrayContaining([escaped(`${base}/ą/ę/file-źł.txt`), escaped(`${base}/ą/`)]),
      );
      const root = linksOf((await get(`${base}/`)).body.toString(), `${base}/`);
      const entries = ['api', 'ipfs', 'ipns', 'ą'].map((name) => escaped(`${base}/${name}/`));
      expect(root).toEqual(expect.arrayContaining(entries));
      expect(root).not.toContain('/ipfs/'); // nothing is above it
    });

    it('C: a listing links to what each entry is, whatever path leads there', async () => {
      const path = escaped(`/ipfs/${listing.root}/ą/ę/`);
      const html = (await get(path)).body.toString();
      const target = `/ipfs/${listing.cidOf(...UTF8_FILE)}`;
      expect(linksOf(html, path).some((link) => link.split('?')[0] === target)).toBe(true);
    });

    it('C: a sharded directory lists what it holds, and each file in it is served', async () => {
      const sharded = rig.fixture(SHARDED);
      const html = (await get(`/ipfs/${sharded.root}/`)).body.toString();
      const files_ = ['1.txt', '685.txt', '1000.txt'];
      for (const name of files_) {
        expect(html).toContain(`>${name}<`);
        const { status, body } = await get(`/ipfs/${sharded.root}/${name}`);
        expect([name, status]).toEqual([name, 200]);
        expect(body.equals(sharded.fileOf(name))).toBe(true);
      }
      expect((await get(`/ipfs/${sharded.root}/none.txt`)).status).toBe(404);
    });

    it('C: names are shown as text, whatever is in them', async () => {
      const html = (
        await get(`/ipfs/${rig.fixture(ODD_NAMES).root}/foobar/directory/`)
      ).body.toString();
      // The entry is called "../file": as a link it must not lead out of its directory.
      expect(html).not.toContain('/directory/../file"');
      const odd = makeDirectory([{ name: '<script>"&\'.txt', child: rawLeaf(Buffer.from('x')) }]);
      const car = await makeCar(odd.cid, [odd, rawLeaf(Buffer.from('x'))]);
      expect((await rig.importCar(car)).status).toBe(201);
      const page = (await get(`/ipfs/${odd.cid.toString()}/`)).body.toString();
      expect(page).toContain('&lt;script&gt;');
      expect(page).not.toContain('<script>"');
    });

    it.each([
      ['the ETag', (etag: string) => etag],
      ['it as a weak one', (etag: string) => `W/${etag}`],
      ['it as the third of a list', (etag: string) => `"fake1", "fake2", ${etag}`],
      ['a star', () => '*'],
    ])('M: If-None-Match with %s is 304 without a body', async (_, formOf) => {
      const folder = `/ipfs/${cache.root}/root2/root3/`;
      for (const path of [index(), `${folder}root4/`, folder]) {
        const strong = String((await get(path)).headers.etag).replace(/^W\//, '');
        const again = await get(path, { 'if-none-match': formOf(strong) });
        expect([path, again.status, again.body.length]).toEqual([path, 304, 0]);
      }
    });

    it('C: a listing is also 304 to the bare CID, weakly', async () => {
      const etag = `W/"${cache.cidOf('root2', 'root3')}"`;
      const { status } = await get(`/ipfs/${cache.root}/root2/root3/`, { 'if-none-match': etag });
      expect(status).toBe(304);
    });

    it('M: If-None-Match with another ETag is 200', async () => {
      expect((await get(index(), { 'if-none-match': '"fake"' })).status).toBe(200);
    });

    it('C: a page is sandboxed: it has no origin and runs nothing of ours', async () => {
      const folder = `/ipfs/${cache.root}/root2/root3/root4/`;
      for (const path of [index(), folder, `${ascii()}?filename=x.svg`]) {
        const policy = (await get(path)).headers['content-security-policy'];
        expect(policy).toMatch(/(^|;)\s*sandbox/);
        expect(policy).not.toContain('allow-same-origin');
      }
    });

    it('M: Service-Worker: script on a bare CID is 400', async () => {
      const { status } = await get(`/ipfs/${files.cidOf('ascii.txt')}`, {
        'service-worker': 'script',
      });
      expect(status).toBe(400);
    });

    it('M: a symlink is its target’s text, and listed', async () => {
      const symlink = rig.fixture(SYMLINK);
      const { status, body } = await get(`/ipfs/${symlink.root}/bar`);
      expect([status, body.toString()]).toEqual([200, 'foo']);
      const html = (await get(`/ipfs/${symlink.root}/`)).body.toString();
      for (const name of ['foo', 'bar']) expect(html).toContain(`>${name}<`);
    });

    it('C: CORS is open, for errors too, and OPTIONS says the same', async () => {
      const origin = { origin: 'https://app.example' };
      const asked = [
        await get(ascii(), origin),
        await get(`/ipfs/${files.root}/`, origin),
        await get(`/ipfs/${files.cidOf('ascii.txt')}?format=raw`, origin),
        await get(`/ipfs/${ABSENT}`, origin),
      ];
      for (const { headers } of asked) {
        expect(headers['access-control-allow-origin']).toBe('*');
        const exposed = String(headers['access-control-expose-headers']).toLowerCase();
        for (const name of [
          'content-range',
          'content-length',
          'x-ipfs-path',
          'x-ipfs-roots',
          'x-chunked-output',
          'x-stream-output',
        ])
          expect(exposed).toContain(name);
      }
      const preflight = await get(
        ascii(),
        {
          ...origin,
          'access-control-request-method': 'GET',
          'access-control-request-headers': 'range',
        },
        { method: 'OPTIONS' },
      );
      expect([200, 204]).toContain(preflight.status);
      expect(preflight.headers['access-control-allow-origin']).toBe('*');
      const allowed = String(preflight.headers['access-control-allow-headers']).toLowerCase();
      for (const name of ['content-type', 'range', 'user-agent', 'x-requested-with'])
        expect(allowed).toContain(name);
      const methods = String(preflight.headers['access-control-allow-methods']);
      for (const method of ['GET', 'HEAD', 'OPTIONS']) expect(methods).toContain(method);
    });

    it('C: identity CIDs are readable', async () => {
      const { status, body } = await get(`/ipfs/${HELLO.cid}`);
      expect([status, body.toString()]).toEqual([200, HELLO.bytes]);
      expect((await get('/ipfs/bafkqaaa')).body).toHaveLength(0);
    });

    it('C: a name with escapes in it is found by their escape', async () => {
      const percent = rig.fixture(PERCENT);
      const name = 'Portugal%2C+España=Peninsula Ibérica.txt';
      for (const path of [
        '/Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt',
        `/${encodeURIComponent(name)}`,
      ]) {
        const { status, body } = await get(`/ipfs/${percent.root}${path}`);
        expect([path, status]).toEqual([path, 200]);
        expect(body.equals(percent.fileOf(name))).toBe(true);
      }
    });

    it('S: only-if-cached is 412 for what is not here, and the answer for what is', async () => {
      const cached = { 'cache-control': 'only-if-cached' };
      for (const method of ['GET', 'HEAD']) {
        expect((await get(`/ipfs/${ABSENT_V0}`, cached, { method })).status).toBe(412);
        const folder = await get(`/ipfs/${cache.root}/root2/root3/`, cached, { method });
        expect(folder.status).toBe(200);
      }
    });
  });
});

/** Where the links of a page lead, as paths. A directory is meant with its final slash. */
function linksOf(html: string, path: string): string[] {
  const hrefs = [...html.matchAll(/<a [^>]*href="([^"]*)"/g)].map(([, href = '']) => href);
  const { origin } = new URL('http://a.example');
  return hrefs
    .map((href) => new URL(href.replaceAll('&amp;', '&'), origin + path))
    .map(({ pathname, search }) => pathname + search)
    .flatMap((link) => (/\/$|\?|\.[a-z]+$/.test(link) ? [link] : [link, `${link}/`]));
}
