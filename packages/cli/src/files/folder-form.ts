/** A folder as a multipart form, streamed: one file is open at a time, and no length is needed. */
import { randomUUID } from 'node:crypto';
import type { Attributes } from '@shoal/blocks';
import type { FolderEntry, LeftOut } from './list-folder.ts';
import { openSource, reasonOf } from './open-file.ts';

const MEDIA_TYPES = {
  file: 'application/octet-stream',
  folder: 'application/x-directory',
  symlink: 'application/symlink',
} as const;

/** At least this much is sent at once, but for the end. */
const PIECE_SIZE_BYTES = 64 * 1024;

export interface FolderForm {
  readonly contentType: string;
  /** To be read once. */
  readonly body: AsyncGenerator<Uint8Array, void, undefined>;
}

/**
 * The form of a folder called `name`. Paths are percent-encoded: the request says so with ?encoded.
 * A file that can't be opened any more is left out; one that breaks off later throws a CommandFailure.
 */
export function folderForm(
  { name, attributes }: { readonly name: string; readonly attributes?: Attributes | undefined },
  entries: readonly FolderEntry[],
  {
    onBytes,
    onLeftOut,
    onChanged,
  }: {
    readonly onBytes: (bytes: number) => void;
    readonly onLeftOut: (entry: LeftOut) => void;
    /** Called for a file that changed while it was read. */
    readonly onChanged: (path: string) => void;
  },
): FolderForm {
  const boundary = `shoal-${randomUUID()}`;
  const head = (path: string, kind: FolderEntry['kind'], attributes: Attributes | undefined) =>
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="file${attributesQuery(attributes)}"; filename="${encodeURIComponent(path)}"\r\n` +
        `Content-Type: ${MEDIA_TYPES[kind]}\r\n\r\n`,
    );
  const end = Buffer.from('\r\n');
  async function* body(): AsyncGenerator<Uint8Array, void, undefined> {
    yield head(name, 'folder', attributes);
    yield end;
    for (const entry of entries) {
      const headOf = (own = entry.attributes) => head(`${name}/${entry.path}`, entry.kind, own);
      if (entry.kind !== 'file') {
        yield headOf();
        if (entry.kind === 'symlink') yield entry.target;
        yield end;
        continue;
      }
      const opened = await openSource(entry.full, { isOwn: true }).catch((error: unknown) => {
        onLeftOut({ path: entry.path, reason: reasonOf(error) });
        return undefined;
      });
      if (opened === undefined) continue;
      await using file = opened;
      yield headOf(entry.attributes && file.attributes);
      for await (const bytes of file.source) {
        yield bytes;
        onBytes(bytes.length);
      }
      if (await file.hasChanged()) onChanged(entry.path);
      yield end;
    }
    yield Buffer.from(`--${boundary}--\r\n`);
  }
  return { contentType: `multipart/form-data; boundary=${boundary}`, body: joined(body()) };
}

/** The same bytes in pieces of some size: a small file's three would each be a write to the connection. */
async function* joined(
  pieces: AsyncGenerator<Uint8Array, void, undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let open: Uint8Array[] = [];
  let openBytes = 0;
  for await (const piece of pieces) {
    open.push(piece);
    openBytes += piece.length;
    if (openBytes < PIECE_SIZE_BYTES) continue;
    yield open.length === 1 ? piece : Buffer.concat(open, openBytes);
    open = [];
    openBytes = 0;
  }
  if (openBytes > 0) yield Buffer.concat(open, openBytes);
}

/** As Kubo's clients write them: behind the field's name. */
export function attributesQuery(attributes: Attributes | undefined): string {
  if (attributes === undefined) return '';
  const { mode, mtime } = attributes;
  const asked = mode === undefined ? [] : [`mode=${mode.toString(8).padStart(4, '0')}`];
  if (mtime !== undefined) asked.push(`mtime=${mtime.secs}`, `mtime-nsecs=${mtime.nsecs}`);
  return asked.length === 0 ? '' : `?${asked.join('&')}`;
}
