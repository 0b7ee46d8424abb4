import { createClient, type FilesReply } from '../../call/client.ts';
import type { Command } from '../../context.ts';
import { EXIT_FAILURE } from '../../failure.ts';
import { whyText } from '../../files/file-state.ts';
import { formatAge, formatBytes, formatTable, formatTime } from '../../terminal/format.ts';
import { readOptions, refusePositionals } from '../../options.ts';
import { readPeerUrl } from '../../call/peer-url.ts';
import { watchStop } from '../../terminal/watch-stop.ts';

export const USAGE = `shoal ls [options]             list the swarm's files, newest first
  --deleted          list deleted files that can be brought back ("shoal undelete") instead, the
                     last one deleted first, and when they are purged
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
  --json             print the peer's answer`;

/** Lists the files of the swarm: their copies, and why they are not as many as asked for. */
export const ls: Command = async (args, context) => {
  const { values, positionals } = readOptions(args, {
    deleted: { type: 'boolean', default: false },
    peer: { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  refusePositionals(positionals);
  await using client = createClient(readPeerUrl(values.peer, context));
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  const reply = await client.listFiles({ deleted: values.deleted, signal: stop.signal });
  const table = values.deleted ? deletedTable : filesTable;
  context.out(values.json ? `${JSON.stringify(reply)}\n` : table(reply, Date.now()));
  return 0;
};

/** The files as a table; the columns EXPIRES and WHY are there only when one of them needs it. */
export function filesTable({ files }: FilesReply, nowMs: number): string {
  const hasExpiry = files.some(({ expiresAtMs }) => expiresAtMs !== undefined);
  const hasWhy = files.some((file) => whyText(file, nowMs) !== '');
  return formatTable(
    [
      'NAME',
      'SIZE',
      'COPIES',
      'STATE',
      'AGE',
      ...(hasExpiry ? ['EXPIRES'] : []),
      'CID',
      ...(hasWhy ? ['WHY'] : []),
    ],
    files.map((file) => [
      file.name,
      formatBytes(file.sizeBytes),
      // A number that is not of now says so.
      `${file.copies}/${file.replicas}${file.state === 'unknown' ? '?' : ''}`,
      file.state,
      formatAge(Math.max(0, nowMs - file.createdAtMs)),
      ...(hasExpiry
        ? [file.expiresAtMs === undefined ? 'never' : formatTime(file.expiresAtMs)]
        : []),
      file.cid,
      ...(hasWhy ? [whyText(file, nowMs)] : []),
    ]),
  );
}

/** Deleted files as a table: when they are purged by themselves, if their room is not needed before. */
export function deletedTable({ files }: FilesReply, nowMs: number): string {
  return formatTable(
    ['NAME', 'SIZE', 'COPIES', 'DELETED', 'PURGED', 'CID'],
    files.map((file) => [
      file.name,
      formatBytes(file.sizeBytes),
      `${file.copies}/${file.replicas}${file.state === 'unknown' ? '?' : ''}`,
      file.deletedAtMs === undefined
        ? ''
        : `${formatAge(Math.max(0, nowMs - file.deletedAtMs))} ago`,
      file.purgeAtMs === undefined ? '' : formatTime(file.purgeAtMs),
      file.cid,
    ]),
  );
}
