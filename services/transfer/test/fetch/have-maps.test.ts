import { describe, expect, it } from '@jest/globals';
import { hashBlock, partitionOf } from '@shoal/blocks';
import { createLog } from '@shoal/chassis';
import { discoveryRoutes, type Member, type PeerId, storageRoutes } from '@shoal/protocol';
import { HaveMaps } from '../../src/fetch/have-maps.ts';
import { cidOf, haveMapOf, paperClient, paperView, peerOf } from '../paper.ts';

const ROOT = cidOf('root');
const LEAF = hashBlock('raw', Buffer.from('a leaf'));
const OTHER = hashBlock('raw', Buffer.from('another leaf'));
/** Where the leaf is in the DAG. */
const INDEX = 1;
const signal = AbortSignal.timeout(60_000);
const names = (members: readonly Member[] = []) => members.map(({ peerId }) => peerId).toSorted();

/** Five peers, ours is 0, that answer a want by what they hold; one without an entry does not say. */
function rig(held: Record<PeerId, readonly number[]>, { replicas = 2 } = {}) {
  let wants = 0;
  const { view } = paperView(Array.from({ length: 5 }, () => ({})));
  const client = paperClient([
    [storageRoutes.haveMap, () => haveMapOf(ROOT, held[peerOf(0)] ?? [])],
    [
      discoveryRoutes.want,
      () => {
        wants += 1;
        const answers = Object.entries(held)
          .filter(([peerId]) => peerId !== peerOf(0))
          .map(([peerId, list]) => ({ peerId, haveMap: haveMapOf(ROOT, list), ageMs: 0 }));
        return { asked: 4, answers };
      },
    ],
  ]);
  const log = createLog('transfer', 'silent');
  const maps = new HaveMaps({ root: ROOT, replicas }, { client, view, log }, { signal });
  const member = (index: number): Member => {
    const found = view.get(peerOf(index));
    if (found === undefined) throw new Error(`no peer ${index}`);
    return found;
  };
  return { maps, view, member, wants: () => wants };
}

describe('the members that may have a block', () => {
  it('are guessed by placement, until they said what they have', () => {
    const { maps, view } = rig({});
    const { said, placed, unsure } = maps.providersOf(LEAF, INDEX);
    const order = names([...view.placement(partitionOf(LEAF))].slice(0, 2));
    expect([said, names(placed)]).toEqual([[], order]);
    expect([...names(placed), ...names(unsure)].toSorted()).toEqual(names(view.asked()));
  });

  it('are then those that said so, and those that did not say; who said no is left out', async () => {
    const { maps } = rig({ [peerOf(1)]: [INDEX], [peerOf(2)]: [0], [peerOf(3)]: [0, INDEX] });
    await maps.learn();
    const { said, placed = [], unsure = [] } = maps.providersOf(LEAF, INDEX);
    expect(names(said)).toEqual([peerOf(1), peerOf(3)]);
    expect(names([...placed, ...unsure])).toEqual([peerOf(4)]);
    expect(maps.countHolders(INDEX)).toBe(2);
  });

  it('are guessed for a block whose place in the DAG is not known', async () => {
    const { maps, view } = rig({ [peerOf(1)]: [INDEX] });
    await maps.learn();
    const { said, placed = [], unsure = [] } = maps.providersOf(LEAF, undefined);
    expect(said).toEqual([]);
    expect(names([...placed, ...unsure])).toEqual(names(view.asked()));
  });

  it('are fewer by one that said so and has it not: what it said of other blocks is no more than a guess', async () => {
    const { maps, member } = rig({ [peerOf(1)]: [INDEX, 2], [peerOf(2)]: [INDEX, 2] });
    await maps.learn();
    maps.noteAbsent(member(1), INDEX);
    const { said, placed = [], unsure = [] } = maps.providersOf(OTHER, 2);
    expect(names(said)).toEqual([peerOf(2)]);
    expect(names([...placed, ...unsure])).toContain(peerOf(1));
  });

  it('stay as they are when one that never said so has it not', async () => {
    const { maps, member } = rig({ [peerOf(1)]: [0], [peerOf(2)]: [INDEX] });
    await maps.learn();
    maps.noteAbsent(member(1), undefined); // a node whose place is not known
    expect(names(maps.providersOf(LEAF, 0).said)).toEqual([peerOf(1)]);
  });

  it('are asked when another has it not, and not because ours is missing, as in a peer that joins', async () => {
    const { maps, member, wants } = rig({ [peerOf(2)]: [INDEX] });
    const settled = () => new Promise((resolve) => setImmediate(resolve));
    maps.noteAbsent(member(0), INDEX);
    await settled();
    expect(wants()).toBe(0);
    maps.noteAbsent(member(1), INDEX);
    await settled();
    expect(wants()).toBe(1);
    expect(names(maps.providersOf(LEAF, INDEX).said)).toEqual([peerOf(2)]);
  });

  it('are asked anew when one has it not, and what was given to it since counts', async () => {
    const held = { [peerOf(1)]: [INDEX], [peerOf(2)]: [0] };
    const { maps, member, wants } = rig(held);
    await maps.learn();
    expect(names(maps.providersOf(LEAF, INDEX).said)).toEqual([peerOf(1)]);
    held[peerOf(1)] = [];
    held[peerOf(2)] = [INDEX];
    await new Promise((resolve) => setTimeout(resolve, 510)); // a want is not repeated sooner
    maps.noteAbsent(member(1), INDEX);
    await maps.learn();
    expect(wants()).toBe(2);
    expect(names(maps.providersOf(LEAF, INDEX).said)).toEqual([peerOf(2)]);
  });
});
