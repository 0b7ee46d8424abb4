/** The routes that take blocks as given, and DAGs by name. */
import assert from 'node:assert/strict';
import { hashBlock, openCar, parseCid, readCid } from '@shoal/blocks';
import { mount, type Mounting, relativeReference } from '@shoal/chassis';
import {
  BLOCK_SIZE_MAX_BYTES,
  BodyTooLarge,
  chunkerRoutes,
  MediaTypeUnsupported,
  RequestInvalid,
} from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import type * as z from 'zod';
import { addPin, type AddPinDeps } from './add-pin.ts';
import { importBlocks, type IncomingBlocks } from './import-blocks.ts';
import { expiryOf, rawBody } from '../request/read-body.ts';
import { createTakeRequest } from '../request/take-request.ts';
import type { RequestLimits } from '../request/admit.ts';

const CAR_TYPE = 'application/vnd.ipld.car';
const BLOCK_TYPE = 'application/vnd.ipld.raw';

type ImportQuery = z.output<(typeof chunkerRoutes)['importBlocks']['query']>;

export function mountImports(mounting: Mounting, deps: AddPinDeps, limits: RequestLimits): void {
  const take = createTakeRequest(deps, limits, 'imports');

  mount(mounting, chunkerRoutes.importBlocks, async (call) => {
    const { request, reply, query } = call;
    const type = mediaTypeOf(request);
    if (type !== CAR_TYPE && type !== BLOCK_TYPE)
      throw new MediaTypeUnsupported({ expected: `${CAR_TYPE} or ${BLOCK_TYPE}` });
    const open = async (options: { signal: AbortSignal }): Promise<IncomingBlocks> =>
      type === CAR_TYPE
        ? openCar(rawBody(request, options))
        : loneBlock(await readBlock(rawBody(request, options)), query);
    const wishes = { ...query, name: query.name, expiresAtMs: expiryOf(query) };
    const { reply: answer } = await take(call, ({ signal, onPinning }) =>
      importBlocks(open, wishes, { ...deps, onPinning }, { signal }),
    );
    const [only, ...others] = answer.pinned;
    if (only !== undefined && others.length === 0)
      void reply.header('location', relativeReference(request.url, only.url));
    return answer;
  });

  mount(mounting, chunkerRoutes.addPin, async (call) => {
    const { body, request, reply } = call;
    const { files } = await take(call, ({ signal, onPinning }) =>
      addPin({ ...body, expiresAtMs: expiryOf(body) }, { ...deps, onPinning }, { signal }),
    );
    const [file] = files;
    assert(file !== undefined, 'one DAG was pinned');
    void reply.header('location', relativeReference(request.url, file.url));
    return file;
  });
}

/** A body that is one block, as a CAR of it. @throws HashInvalid, CidUnsupported, RequestInvalid */
function loneBlock(bytes: Uint8Array, { codec, cid: stated }: ImportQuery): IncomingBlocks {
  const target = stated === undefined ? undefined : readCid(stated);
  if (target?.kind === 'identity')
    throw new RequestInvalid({ reason: '?cid= holds its bytes itself; there is nothing to store' });
  const cid = parseCid(target?.cid ?? hashBlock(codec, bytes));
  return { roots: [cid], blocks: only({ cid, bytes }) };
}

async function* only<T>(item: T): AsyncGenerator<T> {
  yield item;
}

/** @throws BodyTooLarge for more than a block may have. */
async function readBlock(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of body) {
    sizeBytes += piece.length;
    if (sizeBytes > BLOCK_SIZE_MAX_BYTES)
      throw new BodyTooLarge({ sizeMaxBytes: BLOCK_SIZE_MAX_BYTES });
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

const mediaTypeOf = ({ headers }: FastifyRequest): string =>
  (headers['content-type'] ?? '').split(';', 1).join().trim().toLowerCase();
