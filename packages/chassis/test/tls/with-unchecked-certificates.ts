/** A program, to be run with NODE_TLS_REJECT_UNAUTHORIZED=0: says on stdout how far who gets. */
import { once } from 'node:events';
import { createServer } from 'node:tls';
import { ask, clientOf, dial, lineOn, newPeer, serve, whoami } from './stand.ts';

const [server, member, stranger] = [newPeer(), newPeer(), newPeer(Buffer.alloc(32, 9))];
await using service = await serve(server);
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);
const socket = await dial(service.port, member);
const line = lineOn(socket, member, server.peerId);
const told = {
  member: statusOf(await ask(socket, '/peer', line)),
  nobody: statusOf(await ask(await dial(service.port, undefined), '/peer')),
  stranger: statusOf(await ask(await dial(service.port, stranger), '/peer')),
  impostor: '',
};
const impostor = createServer(stranger.tls.serverOptions, (each) => each.on('error', () => {}));
await once(impostor.listen(0, '127.0.0.1'), 'listening');
const { port } = impostor.address() as { port: number }; // it listens on TCP
await using client = clientOf(member);
const target = { peerId: server.peerId, origin: `http://127.0.0.1:${port}` };
const signal = AbortSignal.timeout(10_000);
await client.call(target, whoami('peer'), {}, { signal }).catch((error: Error) => {
  told.impostor = (error.cause as Error).constructor.name;
});
impostor.close();
process.stdout.write(JSON.stringify(told));
