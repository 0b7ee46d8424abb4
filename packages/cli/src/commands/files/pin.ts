import { chunkerRoutes } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { sayShortage, whyText } from '../../files/file-state.ts';
import { UsageError } from '../../failure.ts';
import { formatBytes } from '../../terminal/format.ts';
import { startStatusLine } from '../../terminal/progress.ts';
import { readWishes, UPLOAD_OPTIONS, UPLOAD_USAGE } from '../../files/upload-options.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';

/** Asks a peer to gather a DAG and keep it. */
export const pin = askingCommand({
  usage: `shoal pin <CID> [options]      keep what a CID names, in any spelling: a file, a directory, any DAG
  --gateway URL      trustless gateway to fetch from what no member has; may be given more than
                     once; the peer's setting PIN_GATEWAYS says which it takes
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
${UPLOAD_USAGE}
  --name NAME        its name (default: the CID)
  --json             print the peer's answer`,
  options: {
    gateway: { type: 'string', multiple: true, default: [] },
    ...UPLOAD_OPTIONS,
    name: { type: 'string' },
  },
  takesWords: true,
  async run({ values, words, context, client, stop, print }) {
    const [cid, ...rest] = words;
    if (cid === undefined || rest.length > 0) throw new UsageError('give exactly one CID');
    const { name, gateway: gateways } = values;
    const body = { ...readWishes(values), cid, name, gateways };
    using status = startStatusLine(context);
    status.show('gathering its blocks…');
    const reply = await client.callSlow(chunkerRoutes.addPin, { body }, stop);
    const { copies, replicas, sizeBytes, state, url } = reply;
    const why = whyText(reply, Date.now());
    print(reply, `${reply.cid}  ${client.urlOf(url)}\n`);
    if (context.isWatched)
      status.show(
        `${reply.kind}, ${formatBytes(sizeBytes)}, ${copies} of ${replicas} copies (${state})${why === '' ? '' : `: ${why}`}\n`,
      );
    if (body.replicas !== undefined && !values.json) sayShortage(reply, context);
    return 0;
  },
});
