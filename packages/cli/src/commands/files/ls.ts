import type { FilesReply } from '@shoal/sdk';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import { whyText } from '../../files/file-state.ts';
import { formatAge, formatBytes, formatTime, openTable } from '../../terminal/format.ts';

/** Lists the files of the swarm: their copies, and why they are not as many as asked for. */
export const ls = askingCommand({
  usage: `shoal ls [options]             list the swarm's files, newest first; at a terminal long names are
                     shortened in their middle, elsewhere all are whole
  --deleted          list deleted files that can be brought back ("shoal undelete") instead, the
                     last one deleted first, and when they are purged
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the peer's answer`,
  options: {
    deleted: { type: 'boolean', default: false },
  },
  async run({ values, context, client, stop }) {
    const pages = client.eachFilesPage({ deleted: values.deleted }, stop);
    const write = values.json
      ? openJson()
      : (values.deleted ? openDeleted : openFiles)(Date.now(), context.resultColumns?.());
    let incomplete: string | undefined;
    for await (const page of pages) {
      context.out(write(page));
      ({ incomplete } = page);
    }
    if (incomplete !== undefined) context.err(`shoal: the list may lack files: ${incomplete}\n`);
    return 0;
  },
});

/** Writes a page; the first one comes with the heading. */
type WritePage = (page: FilesReply) => string;

const end = (incomplete: string | undefined): string =>
  incomplete === undefined ? '' : `,"incomplete":${JSON.stringify(incomplete)}`;

/** The pages as one answer, as if the peer had given all files at once. */
export function openJson(): WritePage {
  let isFirst = true;
  return ({ total, files, incomplete, next }) => {
    const list = files.map((file) => JSON.stringify(file)).join(',');
    const head = isFirst ? `{"total":${total},"files":[` : files.length === 0 ? '' : ',';
    isFirst = false;
    return `${head}${list}${next === undefined ? `]${end(incomplete)}}\n` : ''}`;
  };
}

/**
 * The files as a table. The columns EXPIRES and WHY are there only when one of the first page needs it, or more pages
 * follow.
 */
export function openFiles(nowMs: number, columns?: number): WritePage {
  let write: ReturnType<typeof openTable> | undefined;
  let hasExpiry = false;
  let hasWhy = false;
  return ({ files, next }) => {
    if (write === undefined) {
      const isMore = next !== undefined;
      hasExpiry = isMore || files.some(({ expiresAtMs }) => expiresAtMs !== undefined);
      hasWhy = isMore || files.some((file) => whyText(file, nowMs) !== '');
      /** Room for what a later page may have. */
      const roomy = (name: string, columns: number) => (isMore ? name.padEnd(columns) : name);
      const expiry = hasExpiry ? [roomy('EXPIRES', formatTime(nowMs).length)] : [];
      const sizes = [
        roomy('SIZE', '1023.9 KiB'.length),
        'COPIES',
        roomy('STATE', 'spreading'.length),
      ];
      const heading = ['NAME', ...sizes, roomy('AGE', '99 min'.length), ...expiry, 'CID'];
      if (hasWhy) heading.push('WHY');
      write = openTable(heading, columns);
    }
    return write(
      files.map((file) => [
        file.name,
        formatBytes(file.sizeBytes),
        copiesOf(file),
        file.state,
        formatAge(Math.max(0, nowMs - file.createdAtMs)),
        ...(hasExpiry
          ? [file.expiresAtMs === undefined ? 'never' : formatTime(file.expiresAtMs)]
          : []),
        file.cid,
        ...(hasWhy ? [whyText(file, nowMs)] : []),
      ]),
    );
  };
}

/** Deleted files as a table: when they are purged by themselves, if their room is not needed before. */
export function openDeleted(nowMs: number, columns?: number): WritePage {
  const write = openTable(['NAME', 'SIZE', 'COPIES', 'DELETED', 'PURGED', 'CID'], columns);
  return ({ files }) =>
    write(
      files.map((file) => [
        file.name,
        formatBytes(file.sizeBytes),
        copiesOf(file),
        file.deletedAtMs === undefined
          ? ''
          : `${formatAge(Math.max(0, nowMs - file.deletedAtMs))} ago`,
        file.purgeAtMs === undefined ? '' : formatTime(file.purgeAtMs),
        file.cid,
      ]),
    );
}

/** A number that is not of now says so. */
const copiesOf = ({ copies, replicas, state }: FilesReply['files'][number]): string =>
  `${copies}/${replicas}${state === 'unknown' ? '?' : ''}`;
