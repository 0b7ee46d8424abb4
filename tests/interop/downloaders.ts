/** Downloaders: aria2 with a torrent and with a Metalink, curl that goes on where it was cut. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { MiB } from '@shoal/protocol';
import {
  eventually,
  type RunningPeer,
  seededStream,
  sha256Of,
  type TestFile,
  untilAllSee,
} from '@shoal/testkit';
import { type Rig, runWell, TEST_TIMEOUT_MS, TOKEN, uploadSpread } from './rig.ts';

const FILE = { name: 'film ž.mp4', seed: 'film', sizeBytes: 40 * MiB + 77 };
/** Neither peers of BitTorrent's own nor anything outside of this machine. */
const OFFLINE = [
  '--enable-dht=false',
  '--enable-dht6=false',
  '--bt-enable-lpd=false',
  '--enable-peer-exchange=false',
  '--no-conf=true',
];
const QUIET = ['--console-log-level=warn', '--summary-interval=0', '--seed-time=0'];
/** A dead peer is given up soon, as a person at the keyboard would hope. */
const PATIENCE = ['--connect-timeout=3', '--max-tries=2', '--retry-wait=1'];

export function downloaderSuite(rig: () => Rig): void {
  describe('aria2c', { timeout: TEST_TIMEOUT_MS }, () => {
    it('completes a .torrent and a .meta4 though a peer that both list is dead', async () => {
      const { peers, peer, folder } = rig();
      const { cid } = await uploadSpread(peer(0), FILE, 2);
      const [torrent, metalink] = [join(folder, 'film.torrent'), join(folder, 'film.meta4')];
      await fetchTo(`${peer(1).gateway}/files/${cid}.torrent`, torrent);
      await fetchTo(`${peer(1).gateway}/files/${cid}.meta4`, metalink);
      const dead = peer(3);
      for (const file of [torrent, metalink])
        assert((await readFile(file, 'latin1')).includes(dead.gateway), `${file} lists it`);
      await dead.kill();
      try {
        const options = [...OFFLINE, ...QUIET, ...PATIENCE];
        await runWell('aria2c', [...options, '--dir=by-torrent', torrent], { cwd: folder });
        await assertWhole(join(folder, 'by-torrent', FILE.name), FILE);
        // Small pieces from all of them at once, each checked by its own hash.
        const many = ['--split=8', '--min-split-size=1M', '--check-integrity=true'];
        const args = [...options, ...many, '--dir=by-metalink', `--metalink-file=${metalink}`];
        await runWell('aria2c', args, { cwd: folder });
        await assertWhole(join(folder, 'by-metalink', FILE.name), FILE);
      } finally {
        await revive(dead, peers);
      }
    });

    it('takes a torrent’s address instead of a file', async () => {
      const { peer, folder, striped } = rig();
      const url = `${peer(2).gateway}/files/${striped.cid}.torrent`;
      const args = [...OFFLINE, ...QUIET, '--follow-torrent=mem', '--dir=by-url', url];
      await runWell('aria2c', args, { cwd: folder });
      await assertWhole(join(folder, 'by-url', striped.name), striped);
    });
  });

  describe('curl', { timeout: TEST_TIMEOUT_MS }, () => {
    for (const way of ['files', 'ipfs'] as const)
      it(`-C - goes on with a download of /${way}/ that was cut, at another peer`, async () => {
        const { peer, folder, striped } = rig();
        const target = join(folder, `cut by ${way}.bin`);
        const urlAt = ({ gateway }: RunningPeer) => `${gateway}/${way}/${striped.cid}`;
        await cut(['--limit-rate', '8M', '--output', target, urlAt(peer(1))], target);
        const { size: before } = await stat(target);
        assert(before > 0 && before < striped.sizeBytes);
        const options = ['--silent', '--show-error', '--fail', '-C', '-', '--output', target];
        const report = ['--write-out', '%{http_code} %{size_download}'];
        const said = await runWell('curl', [...options, ...report, urlAt(peer(2))], {
          cwd: folder,
        });
        assert.equal(said, `206 ${striped.sizeBytes - before}`);
        await assertWhole(target, striped);
      });

    it('-T uploads a file, and --remote-header-name gives it its name back', async () => {
      const { peer, folder } = rig();
      await writeFile(join(folder, 'by curl.txt'), 'by curl\n');
      const token = ['--header', `authorization: Bearer ${TOKEN}`];
      const url = `${peer(0).gateway}/files/`;
      const said = await runWell('curl', ['--silent', ...token, '-T', 'by curl.txt', url], {
        cwd: folder,
      });
      const { cid, name } = JSON.parse(said) as { cid: string; name: string };
      assert.equal(name, 'by curl.txt');
      const args = ['--silent', '--fail', '-OJ', '--output-dir', 'named', '--create-dirs'];
      await runWell('curl', [...args, `${peer(4).gateway}/files/${cid}`], { cwd: folder });
      assert.equal(await readFile(join(folder, 'named', 'by curl.txt'), 'utf8'), 'by curl\n');
    });
  });
}

/** Starts curl and kills it when a part of the file is there. */
async function cut(args: readonly string[], target: string): Promise<void> {
  const curl = spawn('curl', ['--silent', ...args], { stdio: 'ignore' });
  const ended = once(curl, 'exit');
  await eventually('a part is there', async () => (await stat(target)).size > 4 * MiB);
  curl.kill('SIGKILL');
  await ended;
}

async function revive(peer: RunningPeer, peers: readonly RunningPeer[]): Promise<void> {
  await peer.start();
  await untilAllSee(peers, peers.length);
}

async function fetchTo(url: string, file: string): Promise<void> {
  const response = await fetch(url);
  assert.equal(response.status, 200, url);
  await writeFile(file, Buffer.from(await response.arrayBuffer()));
}

async function assertWhole(path: string, file: TestFile): Promise<void> {
  const wanted = await sha256Of(seededStream(file.seed, file.sizeBytes));
  assert.equal(await sha256Of(await readFile(path)), wanted, path);
}
