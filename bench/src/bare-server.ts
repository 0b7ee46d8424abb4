/**
 * What Shoal is measured against: the least that a Node HTTP server can do. It runs as a process of
 * its own, like the services do: `node src/bare-server.ts <folder>`; prints its port.
 *
 * PUT: cuts the body into MiBs, hashes each and the whole, writes each to a file of its own, without
 * fsync. GET /<path>: streams that file. No names, no index, no verification, no second process.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

const MiB = 1024 * 1024;
const [, , folder = '.'] = process.argv;

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const whole = createHash('sha256');
  const buffer = Buffer.allocUnsafe(MiB);
  let filled = 0;
  let chunks = 0;
  const cut = async (bytes: Buffer) => {
    const digest = createHash('sha256').update(bytes).digest('hex');
    const dir = join(folder, digest.slice(0, 2));
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, digest), bytes);
    chunks += 1;
  };
  for await (const piece of request as AsyncIterable<Buffer>) {
    whole.update(piece);
    for (let offset = 0; offset < piece.length;) {
      const copied = piece.copy(buffer, filled, offset);
      offset += copied;
      filled += copied;
      if (filled === MiB) {
        await cut(buffer);
        filled = 0;
      }
    }
  }
  if (filled > 0) await cut(buffer.subarray(0, filled));
  response.end(JSON.stringify({ sha256: whole.digest('hex'), chunks }));
}

async function send(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = join(folder, decodeURIComponent(request.url ?? ''));
  response.setHeader('content-length', (await stat(path)).size);
  await pipeline(createReadStream(path, { highWaterMark: MiB }), response);
}

const server = createServer((request, response) => {
  (request.method === 'PUT' ? receive : send)(request, response).catch(() => response.destroy());
});
server.requestTimeout = 0;
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
