/**
 * A part of Kubo's RPC API (`POST /api/v0/…`), for scripts and libraries that speak it.
 *
 * A shim over the services' public routes. Those who speak this API expect to be the administrator, so
 * it is closed until the peer has a write token or tokens of an owner, takes nothing without one, reads included, and
 * answers no browser at all. The routes behind judge a token with a scope, which they get too. Refusals have Kubo's form, since its clients read no other.
 */
import {
  type kuboRoutes,
  type PeerId,
  Problem,
  type Right,
  RightMissing,
  RPC_PREFIX,
  type Service,
} from '@shoal/protocol';
import {
  type Access,
  type Clients,
  isScopedToken,
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

/** The right that a command needs; all others read. */
const RIGHTS: Readonly<Partial<Record<keyof typeof kuboRoutes, Right>>> = {
  add: 'write',
  'block/put': 'write',
  'dag/import': 'write',
  'pin/add': 'write',
  'pin/rm': 'delete',
};

export interface KuboOptions {
  readonly self: PeerId;
  readonly origins: Readonly<Record<Service, string>>;
  readonly clients: Clients;
  readonly prover: Prover;
  readonly access: Access;
  readonly answerTimeoutMs: number;
  readonly uploadAnswerTimeoutMs: number;
  readonly bodyIdleTimeoutMs: number;
  readonly metrics: Metrics;
}

/** Mounts the commands; disposing ends the connections to the services. */
export function mountKubo(app: Server, options: KuboOptions): AsyncDisposable {
  const { access, self, prover, bodyIdleTimeoutMs, metrics } = options;
  const upstreams = createUpstream(options);
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
      const { '*': asked } = request.params as { '*': string }; // the route's wildcard
      const token = admit(request, asked, access);
      const name = commandOf(asked);
      const gone = new AbortController();
      reply.raw.once('close', () => {
        if (!reply.raw.writableFinished) gone.abort(new Error('the caller left'));
      });
      const body = bodyOf(request.raw);
      try {
        const answer = await run(name, request.client, COMMANDS[name], {
          self,
          options: readOptions(request.url),
          upstream: upstreams.of(request.client, token),
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
function commandOf(name: string): keyof typeof COMMANDS {
  // The check is what makes it a key.
  if (Object.hasOwn(COMMANDS, name)) return name as keyof typeof COMMANDS;
  throw new RpcError(404, `there is no command ${name.slice(0, 100)} here`);
}

/** How Kubo's clients send the token: for those who have never read of it. */
const HOW =
  'ipfs --api-auth "bearer:<token>" …, or the header "Authorization: Bearer <token>"; Basic with any user and the token as the password does as well';

/** The token that the command is called with. @throws RpcError 403, as Kubo answers those who may not call */
function admit({ headers }: FastifyRequest, command: string, access: Access): string {
  const { authorization, origin } = headers;
  const token = tokenIn(authorization);
  const judged = access.judge(token);
  const isScoped = token !== undefined && isScopedToken(token);
  if (!access.isWriteClosed && !isScoped)
    throw new RpcError(
      403,
      `the RPC is closed while this peer has no write token: start it with one (its setting WRITE_TOKEN or WRITE_TOKEN_FILE), or have an owner make one (shoal token create), then call with ${HOW}`,
    );
  if (origin !== undefined) throw new RpcError(403, 'the RPC is not for web pages');
  if (judged === 'all' && token !== undefined) return token;
  if (judged !== 'all' && judged !== 'nothing' && judged.rights !== undefined) {
    const { name, may, only } = judged.rights;
    // Any other command is a read.
    const right = RIGHTS[command as keyof typeof kuboRoutes] ?? 'read';
    if (!may.has(right)) throw new RpcError(403, new RightMissing({ right, token: name }).message);
    // A new file is not the one that it is for.
    if (right === 'write' && only !== undefined)
      throw new RpcError(403, new RightMissing({ right, token: name, only }).message);
    if (token !== undefined) return token;
  }
  const reason = typeof judged === 'object' && isScoped ? ` (${judged.reason})` : '';
  const what =
    authorization === undefined
      ? 'the RPC wants the write token of this peer'
      : `the header Authorization does not hold the write token of this peer${reason}`;
  throw new RpcError(
    403,
    `${what} (its setting WRITE_TOKEN, else what "shoal token" prints there; or one that an owner made): ${HOW}`,
  );
}
