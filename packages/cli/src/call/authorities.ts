/**
 * The certificate authorities by which a peer's HTTPS is checked: Node's own, NODE_EXTRA_CA_CERTS, and those of this machine,
 * where a company puts its own. Node leaves the last ones out unless it is started with a flag.
 */
import { getCACertificates, setDefaultCACertificates } from 'node:tls';

let areTaken = false;

/** From now on this process trusts what the machine trusts; to be called for https alone, as it reads some hundred files. */
export function trustMachine(): void {
  if (areTaken) return;
  areTaken = true;
  setDefaultCACertificates([...getCACertificates('default'), ...getCACertificates('system')]);
}
