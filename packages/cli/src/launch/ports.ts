/** The ports of one peer: `base + index` for the services, one more for libp2p. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { SERVICES, type Service } from '@shoal/protocol';
import { CommandFailure } from '../failure.ts';

/** Where the first peer of a machine begins. */
export const BASE_PORT_DEFAULT = 7100;
/** Ports set aside for each peer of a swarm on one machine. */
export const PORTS_PER_PEER = 10;

/** The last port that leaves room for a peer's own. Past it: refused. */
export const BASE_PORT_MAX = 65_535 - SERVICES.length;

const PORT_POLL_MS = 100;

export type PeerPorts = Readonly<Record<Service | 'libp2p', number>>;

/** The ports of the peer that begins at `basePort`. */
export function portsOf(basePort: number): PeerPorts {
  const services = SERVICES.map((service, index) => [service, basePort + index] as const);
  return {
    ...(Object.fromEntries(services) as Record<Service, number>), // every service is in SERVICES
    libp2p: basePort + SERVICES.length,
  };
}

/**
 * Makes sure that nobody listens on these ports, waiting up to `patienceMs` for each to become free.
 * @throws CommandFailure that names the first port that is taken.
 */
export async function checkPorts(
  ports: PeerPorts,
  {
    host,
    whose,
    patienceMs = 0,
  }: {
    readonly host: string;
    readonly whose: string;
    readonly patienceMs?: number;
  },
): Promise<void> {
  const deadlineMs = performance.now() + patienceMs;
  for (const [what, port] of Object.entries(ports)) {
    let fault = await portFault(port, host);
    while (fault !== undefined && performance.now() < deadlineMs) {
      await sleep(PORT_POLL_MS);
      fault = await portFault(port, host);
    }
    if (fault === 'EADDRINUSE')
      throw new CommandFailure(
        `port ${port} (${what} of ${whose}) is taken; stop what listens there, or choose another --base-port`,
      );
    if (fault !== undefined)
      throw new CommandFailure(
        `can't listen on ${host} port ${port} (${what} of ${whose}): ${fault}; choose another --host or --base-port`,
      );
  }
}

/** Whether all ports of a peer at `basePort` are free on this host. */
export async function arePortsFree(basePort: number, host: string): Promise<boolean> {
  for (const port of Object.values(portsOf(basePort)))
    if ((await portFault(port, host)) !== undefined) return false;
  return true;
}

async function portFault(port: number, host: string): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen({ port, host, exclusive: true });
    await once(server, 'listening');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
  server.close();
  await once(server, 'close');
  return undefined;
}
