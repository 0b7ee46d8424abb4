import { Readable } from 'node:stream';
import { chunkerRoutes, type ImportReply } from '@shoal/protocol';
import type { Client } from '../../call/client.ts';
import { askingCommand } from '../../call/asking-command.ts';
import type { Context } from '../../context.ts';
import { EXIT_FAILURE, UsageError } from '../../failure.ts';
import { formatBytes, plural } from '../../terminal/format.ts';
import { sayShortage } from '../../files/file-state.ts';
import { openFile } from '../../files/open-file.ts';
import { startProgress } from '../../terminal/progress.ts';
import { readWishes, UPLOAD_OPTIONS, UPLOAD_USAGE } from '../../files/upload-options.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';

/** Sends a CAR as it is, "-" for standard input. */
export const importCar = askingCommand({
  usage: `shoal import <file.car> [options]  take in the blocks of a CAR and keep its roots; prints each
                               root's CID and link; exits 1 when one can't be kept
  --peer URL         gateway to send it to (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
${UPLOAD_USAGE}
  --name NAME        name for a single root (default: its CID)
  --json             print the peer's answer`,
  options: {
    ...UPLOAD_OPTIONS,
    name: { type: 'string' },
  },
  takesWords: true,
  async run({ values, words, context, client, stop }) {
    const [path, ...rest] = words;
    if (path === undefined || rest.length > 0) throw new UsageError('give exactly one CAR');
    const query = { ...readWishes(values), name: values.name };
    await using file = await openFile(path, undefined, context);
    const { name: title, sizeBytes, source } = file;
    using progress = startProgress(context, { title, totalBytes: sizeBytes });
    async function* counted() {
      for await (const piece of source) {
        yield piece;
        progress.add(piece.length);
      }
      progress.note('reading it through, waiting for copies');
    }
    const { importBlocks: route } = chunkerRoutes;
    const body = Readable.from(counted(), { objectMode: false });
    const type = 'application/vnd.ipld.car';
    const order = { query, type, body, sizeBytes };
    const reply = await client.upload(route, route.reply, order, stop);
    if (values.json) context.out(`${JSON.stringify(reply)}\n`);
    else report(reply, client, context);
    if (query.replicas !== undefined && !values.json)
      for (const root of reply.pinned) sayShortage(root, context);
    return reply.unpinned.length === 0 ? 0 : EXIT_FAILURE;
  },
});

function report(
  { blocks, blockBytes, pinned, unpinned }: ImportReply,
  client: Client,
  { out, err, isWatched }: Context,
): void {
  for (const { cid, url } of pinned) out(`${cid}  ${client.urlOf(url)}\n`);
  for (const { cid, reason } of unpinned) err(`shoal: ${cid} is not kept: ${reason}\n`);
  if (isWatched) err(`${plural(blocks, 'block')}, ${formatBytes(blockBytes)}\n`);
}
