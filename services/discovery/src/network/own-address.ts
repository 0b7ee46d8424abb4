/** Where this peer is reached: the host that others call, and the ports that it got. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { announcedHost } from '@shoal/chassis/addresses';
import { bareHost, type Endpoints, hostPort, SERVICES } from '@shoal/protocol';
import type { DiscoveryConfig } from '../config.ts';
import { isLocalHost, tcpAddress } from './addresses.ts';

export class OwnAddress {
  /** Never the wildcard address. */
  readonly #host: string;
  /** The name under which people reach the gateway by HTTPS: a certificate is for a name. */
  readonly #httpsHost: string | undefined;
  readonly #own: Readonly<Record<keyof Endpoints, string>>;
  /** As they are set, until the system chose: see `note`. */
  #ports: { readonly http: number; readonly libp2p: number };

  /** @param own Origins of this peer's services as they reach each other. */
  constructor(config: DiscoveryConfig, own: Readonly<Record<keyof Endpoints, string>>) {
    const { DISCOVERY_ADVERTISE_HOST: given, BIND_HOST, GATEWAY_TLS_CERT_FILE } = config;
    this.#host = given === '' ? announcedHost(BIND_HOST) : bareHost(given);
    const [name = this.#host] = config.GATEWAY_HOST_NAMES;
    this.#httpsHost = GATEWAY_TLS_CERT_FILE ? name : undefined;
    this.#own = own;
    this.#ports = { http: config.DISCOVERY_PORT, libp2p: config.DISCOVERY_LIBP2P_PORT };
  }

  /** Notes a port that this service listens on. */
  note(ports: { readonly http?: number; readonly libp2p?: number }): void {
    this.#ports = { ...this.#ports, ...ports };
  }

  /** As members' records say it. */
  facts(): { readonly libp2p: string[]; readonly http: Endpoints } {
    return { libp2p: [tcpAddress(this.#host, this.#ports.libp2p)], http: this.#endpoints() };
  }

  /** Whether a seed is this very peer. */
  isOwn(host: string, port: number): boolean {
    return port === this.#ports.libp2p && (host === this.#host || isLocalHost(host));
  }

  /** Origins of the services as others reach them: the ports are those that we use ourselves. */
  #endpoints(): Endpoints {
    const originOf = (service: keyof Endpoints) => {
      const { protocol, port } = new URL(this.#own[service]);
      if (service === 'gateway' && this.#httpsHost !== undefined)
        return `https://${hostPort(this.#httpsHost, port)}`;
      return `${protocol}//${hostPort(this.#host, service === 'discovery' ? this.#ports.http : port)}`;
    };
    // fromEntries forgets the keys; they are exactly the services.
    return Object.fromEntries(SERVICES.map((each) => [each, originOf(each)])) as Endpoints;
  }
}

/** libp2p listens on numbers only. */
export async function numericHost(host: string): Promise<string> {
  return isIP(host) === 0 ? (await lookup(host)).address : host;
}
