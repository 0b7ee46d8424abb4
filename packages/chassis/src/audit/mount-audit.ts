import { auditRoutes, type Service } from '@shoal/protocol';
import { mount, type Mounting } from '../http/mount.ts';
import type { Audit } from './audit.ts';

/** Answers this peer's gateway with the audit of this service. */
export function mountAudit(
  mounting: Mounting,
  service: Exclude<Service, 'gateway'>,
  audit: Audit,
): void {
  mount(mounting, auditRoutes[service], async ({ query }) => audit.page(query));
}
