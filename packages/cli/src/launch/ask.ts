import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';

/**
 * Asks a service of a peer on this machine, over a connection of its own. Node's own client: the launcher
 * lives as long as the peer, and asks nothing else over HTTP.
 * @throws Error without an answer.
 */
export async function ask(
  url: string,
  {
    headers = {},
    signal,
  }: { readonly headers?: Readonly<Record<string, string>>; readonly signal: AbortSignal },
): Promise<{ readonly status: number | undefined; readonly text: string }> {
  const asking = get(url, { agent: false, headers, signal });
  const [answer] = (await once(asking, 'response')) as [IncomingMessage]; // what that event gives
  let text = '';
  for await (const piece of answer.setEncoding('utf8')) text += String(piece);
  return { status: answer.statusCode, text };
}
