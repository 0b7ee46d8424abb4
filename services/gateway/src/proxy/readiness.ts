import { isAlive } from '@shoal/chassis';
import type { Service } from '@shoal/protocol';

/** Why the front door can't serve: which of the services behind it don't answer. */
export async function whyNotReady(
  origins: Readonly<Record<Service, string>>,
): Promise<string | undefined> {
  const services = (['chunker', 'storage', 'transfer', 'discovery'] as const).map(async (service) =>
    (await isAlive(origins[service])) ? undefined : service,
  );
  const silent = (await Promise.all(services)).filter((service) => service !== undefined);
  return silent.length === 0 ? undefined : `no answer from: ${silent.join(', ')}`;
}
