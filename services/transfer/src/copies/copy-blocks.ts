/**
 * Blocks that our storage lost, copied back from the other members. The storages are asked at this
 * moment, and only one that confirms a block is asked for it: nobody is blamed for what it never had.
 */
import { createBits, encodeBits, setBit } from '@shoal/blocks';
import type { Call, Log, PeerClient } from '@shoal/chassis';
import { type Cid, type Member, Overloaded, type transferRoutes } from '@shoal/protocol';
import type * as z from 'zod';
import type { FetchBlock } from '../fetch/fetch.ts';
import { askConfirmations, heldHere } from './confirmations.ts';
import type { MemberView } from '../peers/member-view.ts';
import type { Repairs } from './repairs.ts';

type Copy = typeof transferRoutes.copyBlocks;

/** Calls worked on at once; the storage, which makes one at a time, is refused and comes again. */
const CALLS_MAX = 8;

/** The handler of `POST /copies`. */
export function createCopyBlocks(deps: {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly fetchBlock: FetchBlock;
  readonly repairs: Repairs;
  readonly log: Log;
}): (
  call: Pick<Call<Copy['params'], Copy['query'], Copy['body']>, 'body' | 'signal'>,
) => Promise<z.input<Copy['reply']>> {
  const { client, view, fetchBlock, repairs } = deps;
  let calls = 0;

  return async ({ body: { cids }, signal }) => {
    if (calls >= CALLS_MAX) throw new Overloaded({ what: 'copy calls', limit: CALLS_MAX });
    calls += 1;
    try {
      const wanted = [...new Set(cids)];
      const lookedAtMs = performance.now();
      const here = new Set(await heldHere(wanted, client, { signal }));
      const missing = wanted.filter((cid) => !here.has(cid));
      const others = view.asked().filter(({ isSelf }) => !isSelf);
      const asks = new Map(others.map((member): [Member, Cid[]] => [member, missing]));
      const holders = await askConfirmations(asks, deps, { signal });
      const wants = [...holders]
        .toSorted(([, a], [, b]) => a.length - b.length)
        .map(([cid, members]) => ({ cid, sizeBytes: undefined, members }));
      const { copied } = await repairs.copy(
        wants,
        (want, options) => fetchBlock(want, { providers: () => ({ said: want.members }) }, options),
        { lookedAtMs, signal },
      );
      for (const cid of copied) here.add(cid);
      const bits = createBits(cids.length);
      cids.forEach((cid, index) => here.has(cid) && setBit(bits, index));
      return { bits: encodeBits(bits) };
    } finally {
      calls -= 1;
    }
  };
}
