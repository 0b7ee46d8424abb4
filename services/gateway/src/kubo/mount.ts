/**
 * A part of Kubo's RPC API (`POST /api/v0/…`), for scripts and libraries that speak it.
 *
 * A shim over the services' public routes. Those who speak this API expect to be the administrator, so
 * it is closed until the peer has a write token, takes nothing without it, reads included, and answers
 * no browser at all. Refusals have Kubo's form, since its clients read no other.
 */
import { type kuboRoutes, type PeerId, Problem, RPC_PREFIX, type Service } from '@shoal/protocol';
import {
  type Clients,
  isSameToken,
  type Prover,
  type Server,
  Shares,
  tokenIn,
} from '@shoal/chassis';
import type { FastifyRequest } from 'fastify';
import type { Metrics } from '../metrics.ts';
import { bodyOf } from '../proxy/bodies.ts';
import { id, version } from './about-commands.ts';
import { add } from './add.ts';
import type { RpcCommand } from './rpc/call.ts';
import { get } from './get.ts';
import { blockPut, dagImport } from './import-commands.ts';
import { ls } from './ls.ts';
import { readOptions } from './rpc/options.ts';
import { pinAdd, pinLs, pinRm } from './pin-commands.ts';
import { blockGet, blockStat, cat, dagExport } from './read-commands.ts';
import { RpcError, toRpcError } from './rpc/rpc-error.ts';
import { createUpstream } from './rpc/upstream.ts';

/** Calls at once, shared by clients. */
const CALLS_MAX = 128;

const COMMANDS: Readonly<Record<keyof typeof kuboRoutes, RpcCommand>> = {
  add,
  cat,
  'block/get': blockGet,
  'block/put': blockPut,
  'block/stat': blockStat,
  'dag/export': dagExport,
  'dag/import': dagImport,
  get,
  ls,
  'pin/add': pinAdd,
  'pin/ls': pinLs,
  'pin/rm': pinRm,
  id,
  version,
};

export interface KuboOptions {
  readonly self: PeerId;
  readonly origins: Readonly<Record<Service, string>>;
  readonly clients: Clients;
  readonly prover: Prover;
  /** The peer's write token; without one every call is refused. */
  readonly token: string | undefined;
  readonly answerTimeoutMs: number;
  readonly uploadAnswerTimeoutMs: number;
  readonly bodyIdleTimeoutMs: number;
  readonly metrics: Metrics;
}

/** Mounts the commands; disposing ends the connections to the services. */
export function mountKubo(app: Server, options: KuboOptions): AsyncDisposable {
  const { token = '', self, prover, bodyIdleTimeoutMs, metrics } = options;
  const upstreams = createUpstream({ ...options, token });
  const shares = new Shares({ what: 'RPC calls', placesMax: CALLS_MAX });

  const run = async (
    name: string,
    client: string,
    command: RpcCommand,
    call: Parameters<RpcCommand>[0],
  ) => {
    using place = await shares.take(client, call);
    const signal = AbortSignal.any([call.signal, place.signal]);
    try {
      const answer = await command({ ...call, signal });
      metrics.rpcCalls.inc({ command: name, outcome: 'answered' });
      return answer;
    } catch (error) {
      const outcome = call.signal.aborted ? 'client-left' : 'failed';
      metrics.rpcCalls.inc({ command: name, outcome });
      throw error;
    }
  };

  void app.register(async (scope) => {
    // Forms stay on the socket: the commands that take one cut it themselves.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_, __, done) => done(null));
    scope.setErrorHandler((error, request, reply) => {
      if (reply.raw.destroyed || request.raw.socket.destroyed) return reply.hijack();
      const failure = toRpcError(error);
      const isFault = !(error instanceof RpcError || error instanceof Problem);
      if (isFault) request.log.error({ err: error }, 'RPC call failed');
      else request.log.debug({ err: error }, 'RPC call refused');
      return reply.code(failure.status).send(failure.toBody());
    });
    scope.route({
      method: ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
      url: `${RPC_PREFIX}*`,
      exposeHeadRoute: false,
      config: { guard: 'own' },
      handler: async (_, reply) => {
        void reply.header('allow', 'POST');
        throw new RpcError(405, 'commands are called with POST');
      },
    });
    scope.post(`${RPC_PREFIX}*`, { config: { guard: 'own' } }, async (request, reply) => {
      admit(request, options.token);
      const { '*': name } = request.params as { '*': string }; // the route's wildcard
      const command = commandOf(name);
      const gone = new AbortController();
      reply.raw.once('close', () => {
        if (!reply.raw.writableFinished) gone.abort(new Error('the caller left'));
      });
      const body = bodyOf(request.raw);
      try {
        const answer = await run(name, request.client, command, {
          self,
          options: readOptions(request.url),
          upstream: upstreams.of(request.client),
          prove: (proven) => prover.prove(self, proven),
          contentType: request.headers['content-type'],
          body,
          reply,
          signal: gone.signal,
          bodyIdleTimeoutMs,
        });
        return reply.sent ? reply : reply.send(answer);
      } catch (error) {
        if (!reply.sent) throw error;
        // It is too late for a status: only an answer that breaks off says that it is not whole.
        if (!gone.signal.aborted) request.log.warn({ err: error }, 'answer broke off');
        reply.raw.destroy();
        return reply;
      } finally {
        body.destroy(); // what the command left of it is read away
      }
    });
  });
  return upstreams;
}

/** @throws RpcError 404 */
function commandOf(name: string): RpcCommand {
  // The check is what makes it a key.
  if (Object.hasOwn(COMMANDS, name)) return COMMANDS[name as keyof typeof COMMANDS];
  throw new RpcError(404, `there is no command ${name.slice(0, 100)} here`);
}

/** How Kubo's clients send the token: for those who have never read of it. */
const HOW =
  'ipfs --api-auth "bearer:<token>" …, or the header "Authorization: Bearer <token>"; Basic with any user and the token as the password does as well';

/** @throws RpcError 403, as Kubo answers those who may not call */
function admit({ headers }: FastifyRequest, token: string | undefined): void {
  if (token === undefined)
    throw new RpcError(
      403,
      `the RPC is closed while this peer has no write token: start it with one (its setting WRITE_TOKEN or WRITE_TOKEN_FILE), then call with ${HOW}`,
    );
  if (headers.origin !== undefined) throw new RpcError(403, 'the RPC is not for web pages');
  const given = tokenIn(headers.authorization);
  if (given !== undefined && isSameToken(given, token)) return;
  const what =
    headers.authorization === undefined
      ? 'the RPC wants the write token of this peer'
      : 'the header Authorization does not hold the write token of this peer';
  throw new RpcError(
    403,
    `${what} (its setting WRITE_TOKEN, else what "shoal token" prints there): ${HOW}`,
  );
}
