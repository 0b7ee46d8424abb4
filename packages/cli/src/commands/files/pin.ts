import { chunkerRoutes } from '@shoal/protocol';
import { createClient } from '../../call/client.ts';
import type { Command } from '../../context.ts';
import { whyText } from '../../files/file-state.ts';
import { EXIT_FAILURE, UsageError } from '../../failure.ts';
import { formatBytes } from '../../terminal/format.ts';
import { readOptions } from '../../options.ts';
import { readPeerUrl } from '../../call/peer-url.ts';
import { startStatusLine } from '../../terminal/progress.ts';
import { readWishes, UPLOAD_OPTIONS, UPLOAD_USAGE } from '../../files/upload-options.ts';
import { watchStop } from '../../terminal/watch-stop.ts';
import { readToken, TOKEN_USAGE } from '../../call/write-token.ts';

export const USAGE = `shoal pin <CID> [options]      keep what a CID names, in any spelling: a file, a directory, any DAG
  --gateway URL      trustless gateway to fetch from what no member has; may be given more than
                     once; the peer's setting PIN_GATEWAYS says which it takes
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
${UPLOAD_USAGE}
  --name NAME        its name (default: the CID)
  --json             print the peer's answer`;

/** Asks a peer to gather a DAG and keep it. */
export const pin: Command = async (args, context) => {
  const { values, positionals } = readOptions(args, {
    gateway: { type: 'string', multiple: true, default: [] },
    peer: { type: 'string' },
    'token-file': { type: 'string' },
    ...UPLOAD_OPTIONS,
    name: { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  const [cid, ...rest] = positionals;
  if (cid === undefined || rest.length > 0) throw new UsageError('give exactly one CID');
  const { name, gateway: gateways } = values;
  const body = { ...readWishes(values), cid, name, gateways };
  await using client = createClient(
    readPeerUrl(values.peer, context),
    readToken(values['token-file'], context),
  );
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  using status = startStatusLine(context);
  status.show('gathering its blocks…');
  const reply = await client.callSlow(chunkerRoutes.addPin, { body }, stop);
  const { copies, replicas, sizeBytes, state, url } = reply;
  const why = whyText(reply, Date.now());
  context.out(values.json ? `${JSON.stringify(reply)}\n` : `${reply.cid}  ${client.urlOf(url)}\n`);
  if (context.isWatched)
    status.show(
      `${reply.kind}, ${formatBytes(sizeBytes)}, ${copies} of ${replicas} copies (${state})${why === '' ? '' : `: ${why}`}\n`,
    );
  return 0;
};
