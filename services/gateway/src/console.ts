/** The console: a few files, read once at start and served from memory, with nothing from elsewhere. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Server } from '@shoal/chassis';

/**
 * The page loads only what this gateway serves, and can't be framed. `default-src` doesn't reach the
 * last three.
 */
const CONTENT_SECURITY_POLICY =
  "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const FILES = [
  { url: '/', file: 'index.html', type: 'text/html; charset=utf-8' },
  { url: '/console.css', file: 'console.css', type: 'text/css; charset=utf-8' },
  { url: '/console.js', file: 'console.js', type: 'text/javascript; charset=utf-8' },
  { url: '/icon.svg', file: 'icon.svg', type: 'image/svg+xml' },
] as const;

/** Mounts the console's files at `/`. */
export async function mountConsole(app: Server): Promise<void> {
  for (const { url, file, type } of FILES) {
    const bytes = await readFile(new URL(`console/${file}`, import.meta.url));
    const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
    app.get(url, async (request, reply) => {
      void reply.headers({
        'content-security-policy': CONTENT_SECURITY_POLICY,
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cross-origin-opener-policy': 'same-origin',
        'cache-control': 'no-cache',
        etag,
      });
      if (request.headers['if-none-match'] === etag) return reply.code(304).send();
      return reply.type(type).send(bytes);
    });
  }
}
