/** The have-maps of one DAG, of our own storage and of the members'. */
import { decodeBits, getBit, partitionOf } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  discoveryRoutes,
  type Member,
  type PeerId,
  storageRoutes,
} from '@shoal/protocol';
import type { MemberView } from '../peers/member-view.ts';
import type { Providers } from './fetch.ts';

/** How long the swarm may take to answer a want; most answer within tens of milliseconds. */
const WANT_TIMEOUT_MS = 1000;
/** A want is repeated at most this often for one DAG. */
const WANT_INTERVAL_MS = 500;

export interface HaveMapDeps {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly log: Log;
}

interface HaveBits {
  readonly bits: Uint8Array;
  readonly blocks: number;
}

export class HaveMaps {
  readonly #root: Cid;
  readonly #replicas: number;
  readonly #deps: HaveMapDeps;
  readonly #signal: AbortSignal;
  readonly #holds = new Map<PeerId, HaveBits>();
  #asking: Promise<void> | undefined;
  #askedAtMs = -Infinity;

  /** @param signal Ends the questions under way. */
  constructor(
    { root, replicas }: { readonly root: Cid; readonly replicas: number },
    deps: HaveMapDeps,
    { signal }: { signal: AbortSignal },
  ) {
    this.#root = root;
    this.#replicas = replicas;
    this.#deps = deps;
    this.#signal = signal;
  }

  /** Asks who holds what, unless that was done a moment ago. A failure leaves what was known. */
  learn(): Promise<void> {
    if (this.#asking !== undefined) return this.#asking;
    if (performance.now() - this.#askedAtMs < WANT_INTERVAL_MS) return Promise.resolve();
    this.#asking = this.#ask();
    return this.#asking;
  }

  /** The members that may have the block: those that said they don't are left out. */
  providersOf(cid: Cid, index: number | undefined): Providers {
    const { view } = this.#deps;
    const asked = view.asked();
    const placedOn = new Set(view.placement(partitionOf(cid)).slice(0, this.#replicas));
    const silent = asked.filter((member) => this.#has(member, index) === undefined);
    return {
      said: asked.filter((member) => this.#has(member, index) === true),
      placed: silent.filter((member) => placedOn.has(member)),
      unsure: silent.filter((member) => !placedOn.has(member)),
    };
  }

  /**
   * This member does not have a block that it was asked for. If it had said that it has it, what it said is out of
   * date: until it says anew it counts as one that did not say, and its other blocks are asked elsewhere first.
   * That ours is not here says nothing of the others, and is what a peer that joins meets with every file.
   */
  noteAbsent(member: Member, index: number | undefined): void {
    const isStale = this.#has(member, index) === true;
    if (isStale) this.#holds.delete(member.peerId);
    if (isStale || !member.isSelf) void this.learn();
  }

  /** How many of the others are known to hold the block at this place in DAG order. */
  countHolders(index: number): number {
    const others = this.#deps.view.asked().filter(({ isSelf }) => !isSelf);
    return others.filter((member) => this.#has(member, index) === true).length;
  }

  /** Undefined of a member that did not say. */
  #has({ peerId }: Member, index: number | undefined): boolean | undefined {
    const map = this.#holds.get(peerId);
    if (map === undefined || index === undefined || index >= map.blocks) return undefined;
    return getBit(map.bits, index);
  }

  async #ask(): Promise<void> {
    for (const result of await Promise.allSettled([this.#askOwn(), this.#askSwarm()]))
      if (result.status === 'rejected' && !this.#signal.aborted)
        this.#deps.log.debug(
          { err: result.reason as unknown, root: this.#root },
          'holders not learned',
        );
    this.#askedAtMs = performance.now();
    this.#asking = undefined;
  }

  async #askOwn(): Promise<void> {
    const { client, view } = this.#deps;
    const args = { params: { cid: this.#root } };
    const options = { signal: this.#signal };
    const own = await client.call(client.own('storage'), storageRoutes.haveMap, args, options);
    this.#note(view.self, own);
  }

  async #askSwarm(): Promise<void> {
    const { client } = this.#deps;
    const args = { body: { roots: [this.#root], timeoutMs: WANT_TIMEOUT_MS } };
    const options = { signal: this.#signal };
    const target = client.own('discovery');
    const { answers } = await client.call(target, discoveryRoutes.want, args, options);
    for (const { peerId, haveMap } of answers)
      if (haveMap.root === this.#root) this.#note(peerId, haveMap); // another root answers another want
  }

  /** @throws When the bits do not fit the number of blocks. */
  #note(
    peerId: PeerId,
    { bits, blocks }: { readonly bits: string; readonly blocks: number },
  ): void {
    this.#holds.set(peerId, { bits: decodeBits(bits, blocks), blocks });
  }
}
