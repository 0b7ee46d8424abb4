/** The address that others call, for a host that a peer listens on. */
import { networkInterfaces } from 'node:os';
import { dialable, isAnyAddress } from '@shoal/protocol';

/** The host itself; for "every address" the first one of a network, or loopback when there is none. */
export function announcedHost(host: string): string {
  if (!isAnyAddress(host)) return host;
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outer = all.filter(({ internal, scopeid = 0 }) => !internal && scopeid === 0);
  const first =
    outer.find(({ family }) => family === 'IPv4') ??
    // Sockets on `::` take both; those on 0.0.0.0 take IPv4 alone.
    (host.includes(':') ? outer[0] : undefined);
  return first?.address ?? dialable(host);
}
