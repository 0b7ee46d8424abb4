import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';

/**
 * A service that lives answers `/healthz` in a millisecond; this allows for a busy machine.
 * Past it: `/readyz` answers 503.
 */
const HEALTH_TIMEOUT_MS = 1000;

/** Whether the service at an origin of this peer answers `/healthz`. */
export async function isAlive(origin: string): Promise<boolean> {
  try {
    const asking = get(`${origin}/healthz`, {
      agent: false, // a connection of its own: a kept one wouldn't show that the service still accepts
      signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS),
    });
    const [answer] = (await once(asking, 'response')) as [IncomingMessage]; // what that event gives
    await once(answer.resume(), 'end');
    return answer.statusCode === 200;
  } catch {
    return false; // no connection, or none in time: that is the answer
  }
}
