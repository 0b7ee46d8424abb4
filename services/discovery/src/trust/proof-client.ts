/**
 * Asks a member to prove blocks. A proof is a hash over a nonce and parts of the block, so our own storage
 * names the blocks, computes what the right proofs are, and compares.
 */
import { randomBytes } from 'node:crypto';
import { type Log, type PeerClient, type Target, targetAt } from '@shoal/chassis';
import {
  type BlockPlace,
  type Cid,
  type Member,
  NO_PROOF,
  type PeerId,
  storageRoutes,
} from '@shoal/protocol';

/** Wait for each call of a question about proofs. Past it: the question is unanswered. */
const CALL_TIMEOUT_MS = 3000;
/**
 * Blocks that a member is blamed for after one question about proofs: each costs us a read of all of it.
 * Past it: the others are asked for again.
 */
const ACCUSED_MAX = 8;
/** Damaged copies reported to a member after one question. Past it: reported once it fails them again. */
const REPORTS_MAX = 4;

interface Named {
  readonly place: BlockPlace;
  readonly cid: Cid;
}

/** A block that was asked for, and how its proof compares. `untold`: we don't have it ourselves any more. */
export type Compared =
  | { readonly place: BlockPlace; readonly outcome: 'untold' }
  | (Named & { readonly outcome: 'proved' })
  | (Named & { readonly outcome: 'failed' })
  | (Named & { readonly outcome: 'denied' });

interface Options {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

export class ProofClient {
  readonly #self: PeerId;
  readonly #client: PeerClient;
  readonly #log: Log;

  constructor(deps: { readonly self: PeerId; readonly client: PeerClient; readonly log: Log }) {
    this.#self = deps.self;
    this.#client = deps.client;
    this.#log = deps.log;
  }

  /** Puts one question; undefined when the member does not answer. */
  async ask(
    member: Member,
    places: readonly BlockPlace[],
    { signal }: { signal: AbortSignal },
  ): Promise<Compared[] | undefined> {
    const options = { signal, timeoutMs: CALL_TIMEOUT_MS };
    const { named, unnamed } = await this.#name(places, options);
    if (named.length === 0) return unnamed;
    const nonce = randomBytes(16).toString('base64url');
    const cids = named.map(({ cid }) => cid);
    const [expected, given] = await Promise.all([
      this.#expect(nonce, cids, member.peerId, options),
      this.#prove(nonce, cids, member, options),
    ]);
    if (given === undefined) return undefined;
    const compared = named.map((each, index) => compare(each, expected[index], given[index]));
    return [...(await this.#withoutOwnDamage(compared, options)), ...unnamed];
  }

  /** Tells a member of copies that seem damaged: an honest one checks them, and heals them. */
  report(member: Member, cids: readonly Cid[], { signal }: { signal: AbortSignal }): void {
    const options = { signal, timeoutMs: CALL_TIMEOUT_MS };
    for (const cid of cids.slice(0, REPORTS_MAX))
      this.#client
        .call(targetAt(member, 'storage'), storageRoutes.checkBlock, { params: { cid } }, options)
        .catch((err: unknown) => this.#log.debug({ err, cid }, 'unproved copy not reported'));
  }

  async #name(
    places: readonly BlockPlace[],
    options: Options,
  ): Promise<{ named: Named[]; unnamed: Compared[] }> {
    const args = { body: { places: [...places] } };
    const { blocks } = await this.#client.call(
      this.#ownStorage(),
      storageRoutes.nameBlocks,
      args,
      options,
    );
    const named: Named[] = [];
    const unnamed: Compared[] = [];
    for (const [index, place] of places.entries()) {
      const cid = blocks[index]?.cid;
      if (cid === undefined) unnamed.push({ place, outcome: 'untold' });
      else named.push({ place, cid });
    }
    return { named, unnamed };
  }

  /** The right proofs, from our own copies. */
  async #expect(
    nonce: string,
    cids: Cid[],
    holder: PeerId,
    options: Options,
  ): Promise<readonly string[]> {
    const args = { body: { nonce, cids, asker: this.#self, holder } };
    const { proofs } = await this.#client.call(
      this.#ownStorage(),
      storageRoutes.expectProofs,
      args,
      options,
    );
    return proofs;
  }

  async #prove(
    nonce: string,
    cids: Cid[],
    member: Member,
    options: Options,
  ): Promise<readonly string[] | undefined> {
    try {
      const args = { body: { nonce, cids } };
      const { proofs } = await this.#client.call(
        targetAt(member, 'storage'),
        storageRoutes.proveBlocks,
        args,
        options,
      );
      return proofs;
    } catch (err) {
      options.signal.throwIfAborted();
      this.#log.debug({ err, peer: member.peerId }, 'proofs not given');
      return undefined;
    }
  }

  /** It may be our bytes that are wrong: they are re-hashed before a member is blamed. */
  async #withoutOwnDamage(
    compared: readonly Compared[],
    options: Options,
  ): Promise<readonly Compared[]> {
    const failed = compared.filter((each) => each.outcome === 'failed');
    const sound = new Set<Cid>();
    for (const { cid } of failed.slice(0, ACCUSED_MAX)) {
      const args = { params: { cid } };
      const { state } = await this.#client.call(
        this.#ownStorage(),
        storageRoutes.checkBlock,
        args,
        options,
      );
      if (state === 'sound') sound.add(cid);
    }
    return compared.filter((each) => each.outcome !== 'failed' || sound.has(each.cid));
  }

  #ownStorage(): Target {
    return this.#client.own('storage');
  }
}

function compare({ place, cid }: Named, expected = NO_PROOF, given = NO_PROOF): Compared {
  if (expected === NO_PROOF) return { place, outcome: 'untold' };
  if (given === expected) return { place, cid, outcome: 'proved' };
  return { place, cid, outcome: given === NO_PROOF ? 'denied' : 'failed' };
}
