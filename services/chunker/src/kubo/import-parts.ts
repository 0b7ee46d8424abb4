/** Forms of `block/put` and `dag/import`: each part is a block or a CAR, imported as `POST /ipfs` would. */
import { type KuboImportEvent, UploadQuery } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import { openBody, type BodyWishes } from '../import/import-body.ts';
import { importBlocks, type ImportDeps } from '../import/import-blocks.ts';
import type { Lines } from '../request/answer-lines.ts';
import type { PinningStop } from '../request/take-request.ts';
import { everyPart } from './parts.ts';

/** Imports the parts, one after the other, and says what came of each. */
export async function importParts(
  request: FastifyRequest,
  { pin, partsMax, ...wishes }: BodyWishes & { readonly pin: boolean; readonly partsMax: number },
  lines: Lines<KuboImportEvent>,
  deps: ImportDeps,
  { onPinning, onPinned, token, ...stop }: PinningStop,
): Promise<void> {
  const { signal } = stop;
  const { replicas, copies } = UploadQuery.parse({});
  const kept = { name: undefined, pin, replicas, copies, expiresAtMs: undefined };
  for await (const { body } of everyPart(request, partsMax, stop)) {
    let roots: string[] = [];
    const open = async (options: { signal: AbortSignal }) => {
      const incoming = await openBody(body(options), wishes);
      roots = incoming.roots.map(String);
      return incoming;
    };
    const { reply } = await importBlocks(open, kept, { ...deps, onPinning, token }, { signal });
    await lines.add({ imported: { ...reply, roots } }, { signal });
    onPinned();
  }
}
