/** The routes that take blocks as given, and DAGs by name. */
import assert from 'node:assert/strict';
import { mount, type Mounting, relativeReference } from '@shoal/chassis';
import { chunkerRoutes, MediaTypeUnsupported, RequestInvalid } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import { addPin, type AddPinDeps } from './add-pin.ts';
import { importBlocks } from './import-blocks.ts';
import { openBody } from './import-body.ts';
import { expiryOf, rawBody } from '../request/read-body.ts';
import type { TakeRequest } from '../request/take-request.ts';

const CAR_TYPE = 'application/vnd.ipld.car';
const BLOCK_TYPE = 'application/vnd.ipld.raw';

export function mountImports(mounting: Mounting, deps: AddPinDeps, take: TakeRequest): void {
  mount(mounting, chunkerRoutes.importBlocks, async (call) => {
    const { request, reply, query } = call;
    checkKept(request, query);
    const type = mediaTypeOf(request);
    if (type !== CAR_TYPE && type !== BLOCK_TYPE)
      throw new MediaTypeUnsupported({ expected: `${CAR_TYPE} or ${BLOCK_TYPE}` });
    const as = type === CAR_TYPE ? 'car' : 'block';
    const open = (options: { signal: AbortSignal }) =>
      openBody(rawBody(request, options), { ...query, as });
    const wishes = { ...query, name: query.name, expiresAtMs: expiryOf(query) };
    const { reply: answer } = await take(call, ({ signal, onPinning, token }) =>
      importBlocks(open, wishes, { ...deps, onPinning, token }, { signal }),
    );
    const [only, ...others] = answer.pinned;
    if (only !== undefined && others.length === 0)
      void reply.header('location', relativeReference(request.url, only.url));
    return answer;
  });

  mount(mounting, chunkerRoutes.addPin, async (call) => {
    const { body, request, reply } = call;
    const { files } = await take(call, ({ signal, onPinning, token }) =>
      addPin({ ...body, expiresAtMs: expiryOf(body) }, { ...deps, onPinning, token }, { signal }),
    );
    const [file] = files;
    assert(file !== undefined, 'one DAG was pinned');
    void reply.header('location', relativeReference(request.url, file.url));
    return file;
  });
}

/** Refuses blocks that would be on nobody's account, and stay until a sweep. @throws RequestInvalid */
export function checkKept({ token }: FastifyRequest, { pin }: { readonly pin: boolean }): void {
  if (pin || token?.maxBytes === undefined) return;
  throw new RequestInvalid({ reason: `the token "${token.name}" has a quota: send with pin=true` });
}

const mediaTypeOf = ({ headers }: FastifyRequest): string =>
  (headers['content-type'] ?? '').split(';', 1).join().trim().toLowerCase();
