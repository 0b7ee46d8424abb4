import { discoveryRoutes } from '@shoal/protocol';
import type * as z from 'zod';
import { call, type CallOptions } from './call.ts';

/** Files asked for at once: the most that a peer gives. */
const PAGE_SIZE = 1000;

export type FilesReply = z.infer<typeof discoveryRoutes.listFiles.reply>;

interface Which {
  /** The deleted files that can be brought back, instead. */
  readonly deleted?: boolean;
}

/** All files, a page at a time, as the peer gives them. @throws as `call` */
export async function* eachFilesPage(
  origin: string,
  { deleted = false }: Which,
  options: CallOptions,
): AsyncGenerator<FilesReply, void, undefined> {
  const which = deleted ? ({ deleted: 'true' } as const) : {};
  for (let after: string | undefined; ;) {
    const query = { limit: PAGE_SIZE, after, ...which };
    const page: FilesReply = await call(origin, discoveryRoutes.listFiles, { query }, options);
    yield page;
    after = page.next;
    if (after === undefined) return;
  }
}

/** All files at once. @throws as `call` */
export async function listFiles(
  origin: string,
  which: Which,
  options: CallOptions,
): Promise<FilesReply> {
  const files: FilesReply['files'] = [];
  let total = 0;
  for await (const page of eachFilesPage(origin, which, options)) {
    files.push(...page.files);
    total = page.total;
  }
  return { total, files };
}
