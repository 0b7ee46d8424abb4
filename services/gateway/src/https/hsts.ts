/** HTTP Strict Transport Security (RFC 6797): browsers then ask this host by HTTPS alone, whatever a link says. */
import { isEncrypted, type Server } from '@shoal/chassis';

/** Says so on each answer by TLS, as on others it would be of no effect (§7.2); 0 says nothing. */
export function promiseHttps(app: Server, maxAgeSeconds: number): void {
  if (maxAgeSeconds === 0) return;
  app.addHook('onRequest', async ({ socket }, reply) => {
    // On the response itself: not every answer is written by the framework.
    if (isEncrypted(socket))
      reply.raw.setHeader('strict-transport-security', `max-age=${maxAgeSeconds}`);
  });
}
