/** Hosts and ports as text: IPv6 addresses have brackets beside a port, and none elsewhere. */

/** `host:port`, as in URLs and seeds. */
export const hostPort = (host: string, port: number | string): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** A host as people write it, without the brackets that belong to URLs. */
export const bareHost = (host: string): string => /^\[(.*)\]$/.exec(host)?.[1] ?? host;

/** Whether a host to listen on means every address of the machine. */
export const isAnyAddress = (host: string): boolean =>
  host === '0.0.0.0' || /^[0:]*:[0:]*$/.test(host);

/** The address that this machine dials to reach a server that listens on a host. */
export function dialable(host: string): string {
  if (!isAnyAddress(host)) return host;
  return host.includes(':') ? '::1' : '127.0.0.1';
}
