import type { Service } from '@shoal/protocol';
import { request } from 'undici';

/** A service that lives answers `/healthz` in a millisecond; this allows for a busy machine. */
const HEALTH_TIMEOUT_MS = 1000;

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

async function isAlive(origin: string): Promise<boolean> {
  try {
    const answer = await request(`${origin}/healthz`, {
      signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS),
      reset: true, // a connection of its own: a kept one wouldn't show that the service still accepts
    });
    await answer.body.dump();
    return answer.statusCode === 200;
  } catch {
    return false; // no connection, or none in time: that is the answer
  }
}
