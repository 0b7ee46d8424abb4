import { AUDIT_KINDS, AUDIT_PAGE_MAX, type PeerAuditEvent, peerAudit } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import { UsageError } from '../../failure.ts';
import { readNumber } from '../../options.ts';
import { follow } from '../../terminal/follow.ts';
import { formatTime, shortPeerId } from '../../terminal/format.ts';
import { StopRequested } from '../../terminal/watch-stop.ts';

const KINDS: readonly string[] = AUDIT_KINDS;

/** Prints the security events of a peer, and with --follow those to come. */
export const log = askingCommand({
  usage: `shoal log [options]            list who came, went, was refused, deleted or changed files,
                               and which tokens were used at a peer
  --follow           go on with what happens from now on, until Ctrl-C
  --kind K           events of one kind: ${KINDS.slice(0, 3).join(', ')},
                     ${KINDS.slice(3, 7).join(', ')},
                     ${KINDS.slice(7, 11).join(', ')},
                     ${KINDS.slice(11).join(', ')}
  --limit N          how many of the latest (default: 100, at most ${AUDIT_PAGE_MAX})
  --peer URL         gateway of the peer (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print each event as a line of JSON`,
  options: {
    follow: { type: 'boolean', default: false },
    kind: { type: 'string' },
    limit: { type: 'string', default: '100' },
  },
  async run({ values, context, client, stop }) {
    const limit = readNumber(values.limit, { name: '--limit', min: 1, max: AUDIT_PAGE_MAX });
    const { kind } = values;
    if (kind !== undefined && !KINDS.includes(kind))
      throw new UsageError(`--kind must be one of ${KINDS.join(', ')}; not "${kind}"`);
    let after: string | undefined;
    // TypeScript can't look into the values of options that are still a parameter.
    const isJson = (values as { readonly json: boolean }).json;
    try {
      await follow(
        (options) => client.call(peerAudit, { query: { limit, kind, after } }, options),
        {
          isOver: () => !values.follow,
          onAnswer({ events, next, silent }) {
            for (const event of events)
              context.out(isJson ? `${JSON.stringify(event)}\n` : describeEvent(event));
            if (after === undefined)
              for (const service of silent)
                context.err(`shoal: ${service} does not answer: its events are missing\n`);
            after = next;
          },
        },
        stop,
      );
    } catch (error) {
      if (!(error instanceof StopRequested)) throw error;
    }
    return 0;
  },
});

/** An event as one line: when, what, and all that is known of it. */
export function describeEvent(event: PeerAuditEvent): string {
  const { atMs, kind, address, token, subject, by, cid, name, detail, count = 1 } = event;
  const parts = [
    name === undefined ? undefined : JSON.stringify(name),
    subject ?? cid,
    detail,
    address === undefined ? undefined : `from ${address}`,
    token === undefined ? undefined : `token ${token}`,
    by === undefined ? undefined : `by ${shortPeerId(by)}`,
    count === 1 ? undefined : `${count} times`,
  ].filter((part) => part !== undefined);
  return `${formatTime(atMs)}  ${oneLine(kind).padEnd(17)}  ${oneLine(parts.join('  '))}\n`;
}

/** Line ends of others must not look like an event of ours; the rest is escaped on its way out. */
const oneLine = (text: string): string =>
  text.replace(/[\n\t]/g, (end) => JSON.stringify(end).slice(1, -1));
