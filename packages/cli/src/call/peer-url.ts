import type { Context } from '../context.ts';
import { UsageError } from '../failure.ts';
import { BASE_PORT_DEFAULT } from '../launch/ports.ts';

/**
 * The gateway to talk to, without a final slash; it may be below a proxy's path: `--peer`, then SHOAL_PEER, then the first peer of this machine.
 * @throws UsageError
 */
export function readPeerUrl(option: string | undefined, { env }: Context): string {
  const text = option ?? env['SHOAL_PEER'] ?? `http://127.0.0.1:${BASE_PORT_DEFAULT}`;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1];
  if (scheme !== undefined && !/^https?$/i.test(scheme))
    throw new UsageError(
      `"${text}" is not the URL of a peer's gateway: peers speak http and https`,
    );
  const url = URL.parse(scheme !== undefined ? text : `http://${text}`);
  if (url === null) throw new UsageError(`"${text}" is not the URL of a peer's gateway`);
  if (url.search !== '' || url.hash !== '' || url.username !== '')
    throw new UsageError(
      `"${text}" is not the URL of a peer's gateway: give scheme, host, port and path alone`,
    );
  return url.origin + url.pathname.replace(/\/+$/, '');
}
