/** Rosters that were changed on both sides of a cut, by the product's own messages over a network that loses what it should. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createTestRoster, openTemporaryFolder, type TestRoster } from '@shoal/testkit';
import { Network, type Node } from '../members/network.ts';

let folder: Awaited<ReturnType<typeof openTemporaryFolder>>;
let network: Network;
let roster: TestRoster;
beforeEach(async () => {
  folder = await openTemporaryFolder();
  network = new Network(folder.path);
  roster = createTestRoster();
});
afterEach(async () => {
  await folder[Symbol.asyncDispose]();
});

const between = (
  some: readonly Node[],
  others: readonly Node[],
  act: (a: Node, b: Node) => void,
) => {
  for (const one of some) for (const other of others) act(one, other);
};
const digests = (nodes: readonly Node[]) =>
  new Set(nodes.map(({ keeper }) => keeper.roster.digest())).size;
const knows = (node: Node, other: Node) =>
  node.membership.others().some(({ peerId }) => peerId === other.peerId);

describe('half of a swarm that was cut off while a member was removed', () => {
  /** Six members, three on each side; the last one is to be removed by the first side, and on the other. */
  async function cutInHalf() {
    const all = await network.addMany(6);
    for (const { peerId } of all) mkdirSync(join(folder.path, peerId));
    const [near, far] = [all.slice(0, 3), all.slice(3)];
    const [first, doomed] = [all[0], all[5]] as [Node, Node];
    first.rosterSync.take([roster.genesis, ...all.map(({ peerId }) => roster.add(peerId))]);
    await network.settle();
    expect(all.every(({ keeper }) => keeper.roster.isClosed)).toBe(true);
    between(near, far, (one, other) => network.cut(one, other));
    return { all, near, far, first, doomed };
  }

  it('takes it for a member until the halves meet, and for none at once then', async () => {
    const { near, far, first, doomed } = await cutInHalf();
    first.rosterSync.take([roster.remove(doomed.peerId)]);
    await network.settle();
    expect(near.map((node) => knows(node, doomed))).toEqual([false, false, false]);
    expect(far.slice(0, 2).map((node) => knows(node, doomed))).toEqual([true, true]);

    // The other half has its own change meanwhile.
    const [other] = far as [Node];
    other.rosterSync.take([
      roster.sign({ kind: 'name', peerId: other.peerId, name: 'renamed in between' }),
    ]);
    await network.settle();
    const staying = [...near, ...far.slice(0, 2)];
    expect(digests(staying)).toBe(2);

    between(near, far, (one, two) => network.mend(one, two));
    await network.settle();
    expect(digests(staying)).toBe(1);
    expect(staying.filter((node) => knows(node, doomed))).toEqual([]);
    expect(staying.filter((node) => node.links.has(doomed.peerId))).toEqual([]);
    const name = first.keeper.roster.view.members.get(other.peerId)?.name;
    expect(name).toBe('renamed in between');
  });

  it('hears of it by one link alone', async () => {
    const { near, far, first, doomed } = await cutInHalf();
    first.rosterSync.take([roster.remove(doomed.peerId)]);
    await network.settle();
    network.mend(near[2] as Node, far[0] as Node);
    await network.settle();
    expect(far.slice(0, 2).filter((node) => knows(node, doomed))).toEqual([]);
    // And the removed one was told why.
    expect(doomed.keeper.notice()).toContain('was removed from the swarm');
  });

  it('shuts out the same ones on both sides when each removed one of the other', async () => {
    const { near, far, first, doomed } = await cutInHalf();
    const [other] = far as [Node];
    first.rosterSync.take([roster.remove(doomed.peerId)]);
    other.rosterSync.take([roster.remove((near[2] as Node).peerId)]);
    await network.settle();
    between(near, far, (one, two) => network.mend(one, two));
    await network.settle();
    const staying = [...near.slice(0, 2), ...far.slice(0, 2)];
    expect(digests(staying)).toBe(1);
    for (const gone of [doomed, near[2] as Node])
      expect(staying.filter((node) => knows(node, gone))).toEqual([]);
  });
});
