import type { FilesReply } from '@shoal/sdk';
import { askingCommand } from '../../call/asking-command.ts';
import { whyText } from '../../files/file-state.ts';
import { formatAge, formatBytes, formatTable, formatTime } from '../../terminal/format.ts';

/** Lists the files of the swarm: their copies, and why they are not as many as asked for. */
export const ls = askingCommand({
  usage: `shoal ls [options]             list the swarm's files, newest first; at a terminal long names are
                     shortened in their middle, elsewhere all are whole
  --deleted          list deleted files that can be brought back ("shoal undelete") instead, the
                     last one deleted first, and when they are purged
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
  --json             print the peer's answer`,
  options: {
    deleted: { type: 'boolean', default: false },
  },
  async run({ values, context, client, stop, print }) {
    const reply = await client.listFiles({ deleted: values.deleted }, stop);
    const table = values.deleted ? deletedTable : filesTable;
    print(reply, table(reply, Date.now(), context.resultColumns?.()));
    return 0;
  },
});

/** The files as a table; the columns EXPIRES and WHY are there only when one of them needs it. */
export function filesTable({ files }: FilesReply, nowMs: number, columns?: number): string {
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
    columns,
  );
}

/** Deleted files as a table: when they are purged by themselves, if their room is not needed before. */
export function deletedTable({ files }: FilesReply, nowMs: number, columns?: number): string {
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
    columns,
  );
}
