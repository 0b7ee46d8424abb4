/** A folder as a multipart form, streamed: one file is open at a time, and no length is needed. */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { FolderEntry } from './list-folder.ts';

const READ_SIZE_BYTES = 256 * 1024;
const MEDIA_TYPES = {
  file: 'application/octet-stream',
  folder: 'application/x-directory',
  symlink: 'application/symlink',
} as const;

export interface FolderForm {
  readonly contentType: string;
  /** To be read once. */
  readonly body: AsyncGenerator<Uint8Array, void, undefined>;
}

/** The form of a folder called `name`. Paths are percent-encoded: the request says so with ?encoded. */
export function folderForm(
  name: string,
  entries: readonly FolderEntry[],
  { onBytes }: { readonly onBytes: (bytes: number) => void },
): FolderForm {
  const boundary = `shoal-${randomUUID()}`;
  const head = (path: string, kind: FolderEntry['kind']) =>
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${encodeURIComponent(path)}"\r\n` +
        `Content-Type: ${MEDIA_TYPES[kind]}\r\n\r\n`,
    );
  const end = Buffer.from('\r\n');
  async function* body(): AsyncGenerator<Uint8Array, void, undefined> {
    yield head(name, 'folder');
    yield end;
    for (const entry of entries) {
      yield head(`${name}/${entry.path}`, entry.kind);
      if (entry.kind === 'symlink') yield entry.target;
      if (entry.kind === 'file')
        for await (const piece of createReadStream(entry.full, {
          highWaterMark: READ_SIZE_BYTES,
        })) {
          const bytes = piece as Uint8Array; // no encoding was set
          yield bytes;
          onBytes(bytes.length);
        }
      yield end;
    }
    yield Buffer.from(`--${boundary}--\r\n`);
  }
  return { contentType: `multipart/form-data; boundary=${boundary}`, body: body() };
}
