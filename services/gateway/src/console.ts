/**
 * The console: the page at `/` and what it loads from `/console/`. A folder of small files, read
 * once at start and served from memory, with nothing from elsewhere.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isNotModified, type Server } from '@shoal/chassis';

/**
 * The page loads only what this gateway serves, and can't be framed. `default-src` doesn't reach the
 * last three.
 */
const CONTENT_SECURITY_POLICY =
  "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/** Holds from `src` and from `dist`, of any package that this is built into. */
const FOLDER = new URL('../../../services/gateway/src/console/', import.meta.url);
const PAGE = 'index.html';
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Mounts the page and its parts. */
export async function mountConsole(app: Server): Promise<void> {
  const entries = await readdir(FOLDER, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(fileURLToPath(FOLDER), join(parentPath, name)));
  for (const name of names) {
    const type = TYPES[extname(name)];
    assert(type !== undefined, `the console has a file of no known type: ${name}`);
    const bytes = await readFile(new URL(name, FOLDER));
    const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
    const path = name === PAGE ? '/' : `/console/${name}`;
    // The page that asks for a token is there without one.
    app.get(path, { config: { right: 'none' } }, async (request, reply) => {
      void reply.headers({
        'content-security-policy': CONTENT_SECURITY_POLICY,
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cross-origin-opener-policy': 'same-origin',
        'cache-control': 'no-cache',
        etag,
      });
      if (isNotModified(request, [etag])) return reply.code(304).send();
      return reply.type(type).send(bytes);
    });
  }
}
