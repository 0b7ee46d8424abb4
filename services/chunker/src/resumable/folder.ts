/** The folder of unfinished uploads: a log for each, and the tail of some. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Log, syncFolder } from '@shoal/chassis';
import { UploadId } from './log.ts';
import { type ResumableUpload, restoreUpload } from './upload-state.ts';

const LOG_SUFFIX = '.upload';
const TAIL_SUFFIX = '.tail';

/** Where an upload is written down. */
export const pathsOf = (folder: string, id: string) => ({
  logPath: join(folder, `${UploadId.parse(id)}${LOG_SUFFIX}`),
  tailPath: join(folder, `${UploadId.parse(id)}${TAIL_SUFFIX}`),
});

/** Brings back what the folder holds; what belongs to no upload is removed. */
export async function restoreAll(
  folder: string,
  { log }: { readonly log: Log },
): Promise<Map<string, ResumableUpload>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const parent of [dirname(folder), dirname(dirname(folder))]) syncFolder(parent);
  const uploads = new Map<string, ResumableUpload>();
  const unread = new Set<string>();
  const names = await readdir(folder);
  for (const name of names.filter((each) => each.endsWith(LOG_SUFFIX))) {
    const id = UploadId.safeParse(name.slice(0, -LOG_SUFFIX.length));
    if (!id.success) continue;
    try {
      const upload = await restoreUpload(pathsOf(folder, id.data));
      if (upload !== undefined) uploads.set(id.data, upload);
      else log.warn({ upload: id.data }, "an upload can't be read, it is dropped");
    } catch (err) {
      // A fault of the disk: it may be over at the next start.
      log.error({ err, upload: id.data }, "an upload can't be read, it is left as it is");
      unread.add(id.data);
    }
  }
  for (const name of names) {
    const [id = ''] = name.split('.', 1);
    const isKnown = name === `${id}${LOG_SUFFIX}` || name === `${id}${TAIL_SUFFIX}`;
    if (isKnown && (uploads.has(id) || unread.has(id))) continue;
    await rm(join(folder, name), { force: true, recursive: true }).catch((err: unknown) =>
      log.warn({ err, name }, 'what belongs to no upload is not removed'),
    );
  }
  return uploads;
}
