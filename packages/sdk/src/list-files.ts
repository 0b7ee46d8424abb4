import { discoveryRoutes } from '@shoal/protocol';
import type * as z from 'zod';
import { call, type CallOptions } from './call.ts';

/** Files asked for at once: the most that a peer gives. */
const PAGE_SIZE = 1000;

export type FilesReply = z.infer<typeof discoveryRoutes.listFiles.reply>;

/** All files; with `deleted` the deleted ones that can be brought back instead. @throws as `call` */
export async function listFiles(
  origin: string,
  { deleted = false }: { readonly deleted?: boolean },
  options: CallOptions,
): Promise<FilesReply> {
  const files: FilesReply['files'] = [];
  const which = deleted ? ({ deleted: 'true' } as const) : {};
  for (let after: string | undefined; ;) {
    const query = { limit: PAGE_SIZE, after, ...which };
    const page = await call(origin, discoveryRoutes.listFiles, { query }, options);
    files.push(...page.files);
    after = page.next;
    if (after === undefined) return { total: page.total, files };
  }
}
