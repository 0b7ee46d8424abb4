/** A peer on the data folder that an earlier version left, and an earlier version on that of a later one. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { listFiles, openTemporaryFolder, type RunningPeer, startPeer } from '@shoal/testkit';
import { request } from 'undici';
import * as z from 'zod';

const FOLDERS = join(import.meta.dirname, '../fixtures/data-folders');
const VERSIONS = readdirSync(FOLDERS)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.slice(0, -'.json'.length));
const FORM = '3\n';

const File = z.object({
  cid: z.string(),
  sha256: z.string(),
  name: z.string(),
  sizeBytes: z.int(),
});
const Contents = z.object({
  files: z.array(File),
  ending: File,
  deleted: File,
  directory: z.object({ cid: z.string() }),
  upload: z.object({ location: z.string(), offset: z.int(), sizeBytes: z.int() }),
});

async function unpack(version: string, into: string): Promise<string> {
  execFileSync('tar', ['-xzf', join(FOLDERS, `${version}.tar.gz`), '-C', into]);
  return join(into, 'peer');
}

async function get(url: string): Promise<{ status: number; body: Buffer }> {
  const answer = await request(url);
  return { status: answer.statusCode, body: Buffer.from(await answer.body.arrayBuffer()) };
}

/** The files that blocks lie in, by their names; each with what changes when it is written anew. */
async function blockFiles(dataDir: string): Promise<Record<string, string>> {
  const folder = join(dataDir, 'storage', 'blocks');
  const names = await readdir(folder, { recursive: true });
  const stats = names.map((name) => [name, statSync(join(folder, name))] as const);
  const files = stats.filter(([, stat]) => stat.isFile());
  return Object.fromEntries(files.map(([name, { ino, mtimeMs }]) => [name, `${ino} ${mtimeMs}`]));
}

describe.each(VERSIONS)('the data folder of %s', (version) => {
  const said = Contents.parse(JSON.parse(readFileSync(join(FOLDERS, `${version}.json`), 'utf8')));
  const kept = [...said.files, said.ending];

  async function expectAll({ gateway }: RunningPeer): Promise<void> {
    for (const { cid, sha256, sizeBytes } of kept)
      for (const hash of [cid, sha256]) {
        const { status, body } = await get(`${gateway}/files/${hash}`);
        expect({ hash, status, sizeBytes: body.byteLength }).toEqual({
          hash,
          status: 200,
          sizeBytes,
        });
        expect(createHash('sha256').update(body).digest('hex')).toBe(sha256);
      }
    expect((await get(`${gateway}/files/${said.deleted.cid}`)).status).toBe(410);
    for (const path of ['a.txt', 'below/b.txt'])
      expect(
        (await get(`${gateway}/ipfs/${said.directory.cid}/${path}`)).body.toString(),
      ).toContain(path);
  }

  it('is taken as it is, with all its files, and what is done to them afterwards', async () => {
    await using folder = await openTemporaryFolder();
    const dataDir = await unpack(version, folder.path);
    const before = await blockFiles(dataDir);
    expect(Object.keys(before).length).toBeGreaterThan(0);
    await using peer = await startPeer({ dataDir, keyFile: join(dataDir, 'swarm.key') });
    await expectAll(peer);
    const listed = await listFiles(peer.discovery);
    expect(listed.map(({ cid }) => cid).toSorted()).toEqual(
      [...kept, said.directory].map(({ cid }) => cid).toSorted(),
    );
    expect(await blockFiles(dataDir)).toEqual(before); // not one was written anew
    expect(readFileSync(join(dataDir, 'form'), 'utf8')).toBe(FORM);

    const { location, offset, sizeBytes } = said.upload;
    const tus = { 'tus-resumable': '1.0.0' };
    const head = await request(`${peer.gateway}${location}`, { method: 'HEAD', headers: tus });
    expect(head.headers['upload-offset']).toBe(String(offset));
    const rest = await request(`${peer.gateway}${location}`, {
      method: 'PATCH',
      headers: {
        ...tus,
        'upload-offset': String(offset),
        'content-type': 'application/offset+octet-stream',
      },
      body: Buffer.alloc(sizeBytes - offset, 'x'),
    });
    expect([rest.statusCode, rest.headers['upload-offset']]).toEqual([204, String(sizeBytes)]);

    const [first] = said.files;
    if (first === undefined) throw new Error('it has files');
    const renamed = await request(`${peer.gateway}/files/${first.cid}`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'renamed by a later version' }),
    });
    expect(renamed.statusCode).toBe(200);
    await peer.stop();
    await peer.start();
    await expectAll(peer);
    const again = await listFiles(peer.discovery);
    expect(again).toContainEqual(expect.objectContaining({ name: 'renamed by a later version' }));
    expect(again).toContainEqual(expect.objectContaining({ name: 'in pieces', sizeBytes }));
  });
});

describe('the data folder of a later version', () => {
  it('is refused with what to do, and nothing in it is touched', async () => {
    await using folder = await openTemporaryFolder();
    const dataDir = join(folder.path, 'peer');
    const keyFile = join(folder.path, 'swarm.key');
    {
      await using peer = await startPeer({ dataDir, keyFile });
      await peer.stop();
    }
    writeFileSync(join(dataDir, 'form'), '4\n');
    const snapshot = async () =>
      (await readdir(dataDir, { recursive: true }))
        .filter((name) => /\.mdb$|^form$|^identity/.test(name))
        .map((name) => [name, statSync(join(dataDir, name)).mtimeMs]);
    const before = await snapshot();
    await expect(startPeer({ dataDir, keyFile })).rejects.toThrow(
      /was last used by a newer Shoal \(data of form 4; this one knows forms 1 to 3\); start it with that version/,
    );
    expect(await snapshot()).toEqual(before);
  });
});
