import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { createLog } from '@shoal/chassis';
import {
  BlockNotFound,
  type Cid,
  discoveryRoutes,
  type Pin,
  ServiceUnavailable,
  storageRoutes,
  transferRoutes,
} from '@shoal/protocol';
import { Registry } from 'prom-client';
import { CopyProofs } from '../../src/copies/copy-proofs.ts';
import { createDrain } from '../../src/leave/drain.ts';
import { handOver } from '../../src/leave/hand-over.ts';
import { questionsOf } from '../../src/leave/holdings.ts';
import { createMetrics } from '../../src/metrics.ts';
import {
  bitsFor,
  cidOf,
  haveMapOf,
  paperClient,
  type PaperMember,
  paperView,
  peerOf,
  pinOf,
} from '../paper.ts';

const signal = AbortSignal.timeout(60_000);

/** Blocks have real CIDs: they are placed by them. */
const proofOf = (holder: unknown, cid: string) => `${String(holder)} proves ${cid}`;
const blockOf = (name: string, index: number): Cid =>
  hashBlock('raw', Buffer.from(`${name} ${index}`));

/** Of each file, which of its blocks each peer holds: a node at 0, leaves at 1 and 2. */
type Shelves = Readonly<Record<string, readonly (readonly number[])[]>>;

function paperPeer(
  files: Shelves,
  {
    members = [{}, {}, {}],
    replicas = {},
    isCurrent = true,
    isSlow = false,
    isSettled = true,
  }: {
    readonly members?: readonly PaperMember[];
    readonly replicas?: Readonly<Record<string, number>>;
    readonly isCurrent?: boolean;
    /** Nobody ever answers how many copies there are. */
    readonly isSlow?: boolean;
    readonly isSettled?: boolean;
  } = {},
) {
  const pins = Object.keys(files).map((name) => pinOf(name, { replicas: replicas[name] ?? 3 }));
  const paper = paperView(members);
  const doubtful = new Set<Cid>();
  const offers: { to: string; cids: Cid[] }[] = [];
  const released: string[] = [];
  let refuses = new Set<string>();
  const liars = new Set<string>();
  let flagIsLost = false;
  const heldAt = (root: string, peer: number) => files[root]?.[peer] ?? [];
  const isHeldAt = (to: string, cid: Cid) =>
    Object.entries(files).some(([root, shelves]) =>
      (shelves[Number(to.split('-')[1])] ?? []).some((index) => blockOf(root, index) === cid),
    );
  const isUp = (peer: number) => paper.view.get(peerOf(peer))?.state === 'alive';
  const countCopies = (root: string): number => {
    const up = members.map((_, peer) => peer).filter(isUp);
    return Math.min(
      ...[0, 1, 2].map((block) => up.filter((peer) => heldAt(root, peer).includes(block)).length),
    );
  };
  const client = paperClient([
    [discoveryRoutes.listPins, () => ({ pins, isCurrent })],
    [
      discoveryRoutes.copies,
      ({ body: { roots }, gone }) =>
        isSlow ? gone : { files: roots.map((cid) => ({ cid, copies: countCopies(cid) })) },
    ],
    [
      discoveryRoutes.setDraining,
      ({ body }) => {
        if (flagIsLost) throw new ServiceUnavailable({ service: 'discovery' });
        paper.change(
          members.map((member, index) =>
            index === 0 ? { ...member, draining: body['isDraining'] === true } : member,
          ),
        );
        return {};
      },
    ],
    [
      discoveryRoutes.want,
      ({ body: { roots } }) => ({
        asked: members.length - 1,
        answers: roots.flatMap((root) =>
          members.flatMap((_, peer) =>
            peer === 0 || heldAt(root, peer).length === 0
              ? []
              : [
                  {
                    peerId: peerOf(peer),
                    haveMap: haveMapOf(root, heldAt(root, peer)),
                    ageMs: 0,
                  },
                ],
          ),
        ),
      }),
    ],
    [
      storageRoutes.haveMaps,
      ({ body: { roots } }) => ({
        // Every second one does not fit the answer and is asked for alone.
        haveMaps: roots.map((root, index) => {
          if (index % 2 === 1) return 'unread';
          return heldAt(root, 0).length === 0 ? 'absent' : haveMapOf(root, heldAt(root, 0));
        }),
      }),
    ],
    [
      storageRoutes.haveMap,
      ({ params }) => {
        const root = cidOf(String(params['cid']));
        if (heldAt(root, 0).length === 0) throw new BlockNotFound({ cid: root });
        return haveMapOf(root, heldAt(root, 0));
      },
    ],
    [storageRoutes.haveBlocks, ({ body: { cids } }) => bitsFor(cids, () => true)],
    [
      transferRoutes.offerReplicas,
      ({ to, body: { cids } }) => {
        offers.push({ to, cids });
        const by = liars.has(to) ? 'nobody' : to;
        const proofs = cids.map((cid) => (refuses.has(to) ? '' : proofOf(by, cid)));
        return { ...bitsFor(cids, () => !refuses.has(to)), proofs };
      },
    ],
    [
      storageRoutes.expectProofs,
      ({ body: { cids, holder } }) => ({ proofs: cids.map((cid) => proofOf(holder, cid)) }),
    ],
    [
      storageRoutes.proveBlocks,
      ({ to, body: { cids } }) => {
        if (liars.has(to)) return { proofs: cids.map(() => proofOf('nobody', 'nothing')) };
        return { proofs: cids.map((cid) => (isHeldAt(to, cid) ? proofOf(to, cid) : '')) };
      },
    ],
    [storageRoutes.checkBlock, () => ({ state: 'sound' })],
    [discoveryRoutes.noteProofs, () => ({})],
    [
      transferRoutes.releaseReplicas,
      ({ to, query }) => {
        released.push(`${to} ${query['keep']}`);
        return { deletedBlocks: 0 };
      },
    ],
  ]);
  const metrics = createMetrics(new Registry());
  const log = createLog('test', 'silent');
  const deps = {
    client,
    proofs: new CopyProofs({ client, self: peerOf(0), metrics, log }),
    view: paper.view,
    listed: {
      open: () => ({
        fetch: () => Promise.reject(new Error('nothing is fetched')),
        learn: async () => undefined,
        countHolders: () => 0,
        [Symbol.dispose]: () => undefined,
      }),
    },
    manifests: {
      list: async ({ root }: Pick<Pin, 'root'>) =>
        [0, 1, 2].map((index) => ({
          cid: blockOf(root, index),
          kind: index === 0 ? ('node' as const) : ('leaf' as const),
          sizeBytes: 1,
          offset: index,
        })),
    },
    loop: {
      isInDoubt: ({ root }: Pin) => doubtful.has(root),
      isSettled: () => isSettled,
    },
    metrics,
    log,
  };
  return {
    ...deps,
    drain: createDrain(deps, { signal }),
    leave: (options = { signal }) => handOver(deps, options),
    doubtful,
    offers,
    released,
    liars,
    refuse: (...peers: string[]) => {
      refuses = new Set(peers);
    },
    loseFlag: () => {
      flagIsLost = true;
    },
  };
}

describe('drain', () => {
  const draining: PaperMember[] = [{ draining: true }, {}, {}];

  it('counts what is still here, and is done when others have all of it', async () => {
    const { drain } = paperPeer({
      gone: [[0], [0, 1], [0, 2]],
      half: [[0, 1], [0, 1, 2], [0]],
      sole: [[0], [1, 2], []],
    });
    expect(await drain.state({ signal })).toEqual({
      isDraining: false,
      isDrained: false,
      filesTotal: 3,
      filesLeft: 0,
      filesBelow: 0,
      blocksLeft: 0,
    });
    expect(await drain.start({ signal })).toEqual({
      isDraining: true,
      isDrained: false,
      filesTotal: 3,
      filesLeft: 2, // a leaf of `half`, and the manifest of `sole`
      filesBelow: 3, // each has a block that one other peer has at most
      blocksLeft: 2,
    });
    expect(await drain.cancel({ signal })).toMatchObject({ isDraining: false });

    const done = paperPeer({ gone: [[0], [0, 1], [0, 2]], away: [[], [0, 1, 2], []] });
    expect(await done.drain.start({ signal })).toMatchObject({ isDrained: true, blocksLeft: 0 });
  });

  it('is not done while a manifest is elsewhere only by the word of peers that can’t prove it', async () => {
    const files = { a: [[0], [0, 1, 2], [0, 1, 2]] };
    const { drain, liars } = paperPeer(files, { members: draining });
    liars.add(peerOf(1)).add(peerOf(2));
    const held = { isDrained: false, filesLeft: 1, blocksLeft: 1 };
    expect(await drain.start({ signal })).toMatchObject(held);
    const honest = paperPeer(files, { members: draining });
    honest.liars.add(peerOf(1));
    expect(await honest.drain.start({ signal })).toMatchObject({ isDrained: true, blocksLeft: 0 });
  });

  it('is held up while no other peer is up', async () => {
    const alone = paperPeer({ a: [[0]] }, { members: [{ draining: true }] });
    expect(await alone.drain.state({ signal })).toMatchObject({
      isDrained: false,
      heldUpBy: 'no other peer is up',
    });
    const members: PaperMember[] = [{ draining: true }, { draining: true }, { state: 'down' }];
    const left = paperPeer({ a: [[0], [0, 1, 2], [0, 1, 2]] }, { members });
    expect(await left.drain.state({ signal })).toMatchObject({
      isDrained: false,
      filesLeft: 1, // what a peer that leaves too, or is away, has does not count
      heldUpBy: 'no other peer is up',
    });
  });

  it('says when a peer that is to take copies is down', async () => {
    const members: PaperMember[] = [{ draining: true }, {}, { state: 'down' }];
    const { drain } = paperPeer(
      {
        a: [
          [0, 1],
          [0, 1, 2],
        ],
      },
      { members },
    );
    expect(await drain.state({ signal })).toMatchObject({
      heldUpBy: 'a peer that is to take copies is down',
    });
  });

  it('is not done while files may be unknown here', async () => {
    const { drain } = paperPeer({}, { members: draining, isCurrent: false });
    expect(await drain.state({ signal })).toMatchObject({
      isDrained: false,
      heldUpBy: 'files of other peers may not be known here yet',
    });
  });

  it('is not done while our storage may keep silent about a block that is here', async () => {
    const { drain, doubtful } = paperPeer({ a: [[0], [0, 1, 2], []] }, { members: draining });
    doubtful.add(cidOf('a'));
    expect(await drain.state({ signal })).toMatchObject({ isDrained: false, blocksLeft: 1 });
  });

  it('does not begin when discovery can’t note it', async () => {
    const peer = paperPeer({ a: [[0], [0]] });
    peer.loseFlag();
    await expect(peer.drain.start({ signal })).rejects.toThrow(ServiceUnavailable);
    expect(await peer.drain.state({ signal })).toMatchObject({ isDraining: false });
  });
});

describe('handing over', () => {
  it('offers nothing when every file has its copies', async () => {
    const peer = paperPeer({
      a: [
        [0, 1, 2],
        [0, 1],
        [0, 2],
      ],
      b: [[0], [0, 1, 2], [0, 1, 2]],
    });
    expect(await peer.leave()).toEqual({ filesChecked: 2, blocks: 0, blocksLeft: 0 });
    expect(peer.offers).toEqual([]);
    expect(peer.released).toEqual([]);
  });

  it('offers the blocks that only we hold, once each, and ends their lease with a keep', async () => {
    const peer = paperPeer({ safe: [[0], [0, 1, 2], [0, 1, 2]], new: [[0, 1, 2], [0, 1], []] });
    expect(await peer.leave()).toEqual({ filesChecked: 2, blocks: 1, blocksLeft: 0 });
    expect(new Set(peer.offers.flatMap(({ cids }) => cids))).toEqual(new Set([blockOf('new', 2)]));
    expect(peer.released.toSorted()).toEqual(['peer-1 true', 'peer-2 true']);
  });

  it('leaves alone files that want one copy', async () => {
    const peer = paperPeer({ single: [[0, 1, 2], [], []] }, { replicas: { single: 1 } });
    expect(await peer.leave()).toEqual({ filesChecked: 0, blocks: 0, blocksLeft: 0 });
    expect(peer.offers).toEqual([]);
  });

  it('goes to the next peer when one takes nothing, and says what nobody took', async () => {
    const peer = paperPeer({ new: [[0, 1, 2], [], []] });
    peer.refuse('peer-1');
    expect(await peer.leave()).toMatchObject({ blocks: 3, blocksLeft: 0 });
    const stuck = paperPeer({ new: [[0, 1, 2], [], []] });
    stuck.refuse('peer-1', 'peer-2');
    expect(await stuck.leave()).toMatchObject({ blocks: 0, blocksLeft: 3 });
  });

  it('goes to the next peer when one says that it took all and proves none of it', async () => {
    const peer = paperPeer({ new: [[0, 1, 2], [], []] });
    peer.liars.add('peer-1');
    expect(await peer.leave()).toMatchObject({ blocks: 3, blocksLeft: 0 });
    const taken = peer.offers.filter(({ to }) => to === 'peer-2').flatMap(({ cids }) => cids);
    expect(new Set(taken)).toEqual(new Set([0, 1, 2].map((index) => blockOf('new', index))));
    const stuck = paperPeer({ new: [[0, 1, 2], [], []] });
    stuck.liars.add('peer-1').add('peer-2');
    expect(await stuck.leave()).toMatchObject({ blocks: 0, blocksLeft: 3 });
  });

  it('offers nothing to peers that are away or leave as well', async () => {
    const members: PaperMember[] = [{}, { draining: true }, { state: 'down' }];
    const peer = paperPeer({ new: [[0, 1, 2], [], []] }, { members });
    expect(await peer.leave()).toMatchObject({ filesChecked: 0 });
    expect(peer.offers).toEqual([]);
  });
});

describe('handing over many files', () => {
  it('takes a moment only for files that are in order as far as is known', async () => {
    const peer = paperPeer({ old: [[0, 1, 2], [], []] }, { isSlow: true });
    const startedAtMs = performance.now();
    expect(await peer.leave()).toMatchObject({ filesChecked: 0, blocks: 0 });
    expect(performance.now() - startedAtMs).toBeLessThan(2000);
  });

  it('takes all the time there is for files in doubt, and says so when it was too short', async () => {
    const peer = paperPeer({ old: [[0, 1, 2], [], []] }, { isSlow: true, isSettled: false });
    const deadline = { signal: AbortSignal.timeout(400) };
    await expect(peer.leave(deadline)).rejects.toThrow('timeout');
    expect(peer.offers).toEqual([]);
  });
});

describe('questionsOf', () => {
  it('keeps each question within the roots and the blocks that one answer has room for', () => {
    const small = Array.from({ length: 130 }, (_, index) => pinOf(`s${index}`));
    expect(questionsOf(small).map(({ length }) => length)).toEqual([64, 64, 2]);
    const large = Array.from({ length: 3 }, (_, index) =>
      pinOf(`l${index}`, { blocks: 5 * 1024 * 1024 }),
    );
    expect(questionsOf(large).map(({ length }) => length)).toEqual([1, 1, 1]);
    expect(questionsOf([])).toEqual([]);
  });
});
