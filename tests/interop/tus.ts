/** `tus-js-client`, the one that browsers run: it and what it uploads to are killed in the middle. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MiB } from '@shoal/protocol';
import {
  download,
  eventually,
  type RunningPeer,
  seededBytes,
  seededStream,
  sha256Of,
  untilAllSee,
} from '@shoal/testkit';
import { type DetailedError, Upload } from 'tus-js-client';
import { AUTHORIZATION, type Rig, TEST_TIMEOUT_MS, uploadFile } from './rig.ts';

const PIECE_SIZE_BYTES = 2 * MiB + 13; // on purpose no multiple of a chunk
/** Long enough for a service that starts again. */
const RETRY_DELAYS_MS = [200, 500, 1000, 1000, 2000, 2000, 4000, 4000, 4000];

interface Going {
  /** Where it can be resumed. */
  readonly url: string | undefined;
  /** Bytes that the server confirmed. */
  readonly acceptedBytes: number;
  /** Ends when the server has all; gives the CID of its last answer. */
  readonly whole: Promise<string>;
  /** As closing the page does. */
  abort(): Promise<void>;
}

function send(
  endpoint: string,
  file: { readonly name: string; readonly bytes: Buffer },
  {
    url,
    deferLength = false,
  }: { readonly url?: string | undefined; readonly deferLength?: boolean } = {},
): Going {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const going = { url, acceptedBytes: 0 };
  const upload = new Upload(file.bytes, {
    endpoint,
    chunkSize: PIECE_SIZE_BYTES,
    retryDelays: RETRY_DELAYS_MS,
    metadata: { filename: file.name, filetype: 'application/octet-stream' },
    headers: AUTHORIZATION,
    uploadLengthDeferred: deferLength,
    ...(url === undefined ? {} : { uploadUrl: url }),
    onUploadUrlAvailable: () => (going.url = upload.url ?? undefined),
    onChunkComplete: (_, acceptedBytes) => (going.acceptedBytes = acceptedBytes),
    onSuccess: ({ lastResponse }) => resolve(lastResponse.getHeader('x-cid') ?? ''),
    onError: reject,
  });
  upload.start();
  promise.catch(() => undefined); // whoever waits for `whole` sees it
  return {
    get url() {
      return going.url;
    },
    get acceptedBytes() {
      return going.acceptedBytes;
    },
    whole: promise,
    abort: () => upload.abort(),
  };
}

export function tusSuite(rig: () => Rig): void {
  const isPast = (going: Going, bytes: number): Promise<boolean> =>
    eventually(`${bytes} bytes are accepted`, () => going.acceptedBytes >= bytes, {
      timeoutMs: 30_000,
    });
  const assertUploaded = async (cid: string, seed: string, sizeBytes: number): Promise<void> => {
    const got = await download(rig().peer(2).gateway, cid);
    assert.equal(got.sha256, await sha256Of(seededStream(seed, sizeBytes)));
  };

  describe('tus-js-client', { timeout: TEST_TIMEOUT_MS }, () => {
    it('uploads in pieces of any size, and is told the CID of a plain upload', async () => {
      const { peer } = rig();
      const file = { name: 'wie süß.bin', seed: 'tus', sizeBytes: 5 * MiB + 1 };
      const bytes = seededBytes(file.seed, file.sizeBytes);
      const cid = await send(`${peer(0).gateway}/uploads`, { name: file.name, bytes }).whole;
      assert.equal((await uploadFile(peer(1), file)).cid, cid);
      await assertUploaded(cid, file.seed, file.sizeBytes);
      const { headers } = await download(peer(3).gateway, cid);
      assert(String(headers['content-disposition']).includes(encodeURIComponent(file.name)));
    });

    it('may say the length at the end, and upload nothing at all', async () => {
      const { peer } = rig();
      const bytes = seededBytes('deferred', 3 * MiB + 5);
      const endpoint = `${peer(1).gateway}/uploads`;
      const cid = await send(endpoint, { name: 'deferred', bytes }, { deferLength: true }).whole;
      await assertUploaded(cid, 'deferred', bytes.length);
      const empty = await send(endpoint, { name: 'empty', bytes: Buffer.alloc(0) }).whole;
      assert.equal(empty, 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku');
    });

    it('is told that it needs the token', async () => {
      const refused = new Promise<Error | DetailedError>((resolve) => {
        const upload = new Upload(Buffer.from('text'), {
          endpoint: `${rig().peer(0).gateway}/uploads`,
          retryDelays: null,
          onError: resolve,
        });
        upload.start();
      });
      assert.match((await refused).message, /401/);
    });

    it('ends with the right CID though the client, the service and the whole peer are killed', async () => {
      const { peers, peer } = rig();
      const victim = peer(4);
      const file = { name: 'killed thrice.bin', seed: 'killed', sizeBytes: 48 * MiB + 3 };
      const bytes = seededBytes(file.seed, file.sizeBytes);
      const endpoint = `${victim.gateway}/uploads`;

      const first = send(endpoint, { name: file.name, bytes });
      await isPast(first, 8 * MiB);
      await first.abort();
      const { url } = first;
      assert(url !== undefined);
      assert((await offsetOf(url)) >= 8 * MiB - MiB, 'all but a chunk is kept');

      // A client that was started anew has the address alone.
      const second = send(endpoint, { name: file.name, bytes }, { url });
      await isPast(second, 20 * MiB);
      victim.killOne('chunker');
      await isPast(second, 30 * MiB); // by its own retries
      await second.abort();

      await killAndStart(victim, peers);
      const third = send(endpoint, { name: file.name, bytes }, { url });
      const cid = await third.whole;
      await assertUploaded(cid, file.seed, file.sizeBytes);
      assert.equal((await uploadFile(peer(1), file)).cid, cid);
    });

    it('survives the peer’s death while it sends', async () => {
      const { peers, peer } = rig();
      const victim = peer(4);
      const bytes = seededBytes('killed amid', 32 * MiB);
      const going = send(`${victim.gateway}/uploads`, { name: 'amid.bin', bytes });
      await isPast(going, 6 * MiB);
      await killAndStart(victim, peers);
      const cid = await going.whole.catch(
        () =>
          // Its retries may have ended before the peer was back: as a person would, try again.
          send(`${victim.gateway}/uploads`, { name: 'amid.bin', bytes }, { url: going.url }).whole,
      );
      await assertUploaded(cid, 'killed amid', bytes.length);
    });
  });
}

async function offsetOf(url: string): Promise<number> {
  const headers = { 'tus-resumable': '1.0.0', ...AUTHORIZATION };
  const response = await fetch(url, { method: 'HEAD', headers });
  assert.equal(response.status, 200);
  return Number(response.headers.get('upload-offset'));
}

async function killAndStart(victim: RunningPeer, peers: readonly RunningPeer[]): Promise<void> {
  await victim.kill();
  await victim.start();
  await untilAllSee(peers, peers.length);
}
