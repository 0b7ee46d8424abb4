import { randomBytes } from 'node:crypto';
import { truncate } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { KiB } from '@shoal/protocol';
import type { PinPage } from '../../src/upkeep/live-pins.ts';
import { digestOfCid } from '../../src/disk/block-record.ts';
import { newLease } from './harness.ts';
import { blockOf, fileOf, GRACE_MS, openStand, type Stand, type TestFile } from './stand.ts';

const newFile = (leaves = 3): TestFile =>
  fileOf(Array.from({ length: leaves }, () => blockOf(randomBytes(100))));

describe('the sweep', () => {
  let stand: Stand;
  const age = () => {
    stand.clock.nowMs += GRACE_MS;
  };
  const heldOf = (file: TestFile) => file.blocks.filter((block) => stand.isHeld(block)).length;

  beforeEach(async () => {
    stand = await openStand();
  });
  afterEach(() => stand[Symbol.asyncDispose]());

  it('condemns what no pin reaches, then deletes it, and leaves the rest', async () => {
    const [live, dead] = [newFile(), newFile()];
    const large = blockOf(randomBytes(80 * KiB));
    for (const file of [live, dead]) await stand.putFile(file);
    await stand.put(large);
    stand.pins.set(live.root, 3);
    await stand.mark(live, 3);
    expect(await stand.sweep()).toMatchObject({ condemnedBlocks: 0, leasedBlocks: 5 }); // too young
    age();
    expect(await stand.sweep({ isDryRun: true })).toMatchObject({
      isDryRun: true,
      condemnedBlocks: 5,
      deletedBlocks: 0,
    });
    expect(dead.blocks.every((block) => stand.isConfirmed(block))).toBe(true);

    expect(await stand.sweep()).toMatchObject({
      isDryRun: false,
      pins: 1,
      reachedBlocks: 4,
      leasedBlocks: 0,
      condemnedBlocks: 5,
      condemnedBytes: 80 * KiB + dead.blocks.reduce((sum, { bytes }) => sum + bytes.length, 0),
      deletedBlocks: 0,
    });
    expect(dead.blocks.some((block) => stand.isConfirmed(block))).toBe(false);
    using served = await stand.store.read(digestOfCid(large.cid));
    expect(served?.bytes.length).toBe(80 * KiB); // served to the end
    expect(stand.store.counts).toMatchObject({ blocks: 9, condemned: 5 });

    await stand.reopen(); // the sentence is durable
    expect(stand.store.counts.condemned).toBe(5);
    expect(await stand.sweep({ isDryRun: true })).toMatchObject({ deletedBlocks: 5 });
    expect(await stand.sweep()).toMatchObject({ condemnedBlocks: 0, deletedBlocks: 5 });
    expect([heldOf(live), heldOf(dead), stand.isHeld(large)]).toEqual([4, 0, false]);
    expect(stand.store.counts).toMatchObject({ blocks: 4, condemned: 0 });
    expect(live.blocks.every((block) => stand.isConfirmed(block))).toBe(true);
  });

  it('changes nothing while pins may be unknown, or cannot be read or listed', async () => {
    const [dead, pinned] = [newFile(), newFile()];
    await stand.putFile(dead);
    age();
    stand.swarm.isCurrent = false;
    expect((await stand.sweep()).heldUpBy).toContain('not all be known');
    stand.swarm.isCurrent = true;
    stand.pins.set(pinned.root, 3); // its manifest is not here
    expect((await stand.sweep()).heldUpBy).toContain(pinned.root);
    stand.pins.clear();
    const broken = await stand.round({
      // eslint-disable-next-line require-yield
      livePins: async function* () {
        throw new Error('discovery is away');
      },
    });
    expect(broken.report.heldUpBy).toContain('could not be read');
    expect(stand.store.counts.condemned).toBe(0);
    await stand.sweep();
    stand.swarm.isCurrent = false;
    await stand.sweep();
    expect(heldOf(dead)).toBe(4); // condemned before, and not deleted now
  });

  it('never takes what an upload holds, also one that joins in the moment of deletion', async () => {
    const file = newFile();
    const lease = newLease();
    await stand.putFile(file, lease);
    age();
    expect(await stand.sweep()).toMatchObject({ leasedBlocks: 4, condemnedBlocks: 0 });
    await stand.store.endLease(lease, 'completed');
    await stand.sweep();
    expect(stand.store.counts.condemned).toBe(4);
    const digests = file.blocks.map(({ cid }) => digestOfCid(cid));
    const [held] = await Promise.all([stand.store.join(newLease(), digests), stand.sweep()]);
    // Either the upload was first, and is told that it holds them, or it is told to put them again.
    expect(held.filter(Boolean)).toHaveLength(heldOf(file));
    await stand.sweep();
    expect(held.filter(Boolean)).toHaveLength(heldOf(file));
  });

  it('never takes a block that a repair puts in the moment of deletion', async () => {
    const blocks = Array.from({ length: 30 }, () => blockOf(randomBytes(100)));
    for (const block of blocks) await stand.put(block);
    age();
    await stand.sweep();
    expect(stand.store.counts.condemned).toBe(30);
    await Promise.all([stand.sweep(), ...blocks.map((block) => stand.put(block))]);
    expect(blocks.filter((block) => stand.isHeld(block))).toHaveLength(30);
    expect(blocks.filter((block) => stand.isConfirmed(block))).toHaveLength(30);
  });

  it('never takes a file that is pinned again while the round goes on', async () => {
    const [file, other] = [newFile(), newFile(1)];
    for (const each of [file, other]) await stand.putFile(each);
    age();
    await stand.sweep();
    let readings = 0;
    const { report } = await stand.round({
      livePins: async function* (): AsyncGenerator<PinPage> {
        readings += 1;
        if (readings === 1) await stand.mark(file, 2); // by transfer, after the list was made
        yield { pins: [], isCurrent: true };
      },
    });
    expect(report).toMatchObject({ deletedBlocks: 1, reachedBlocks: 4 });
    expect(heldOf(file)).toBe(4);
    expect(file.blocks.every((block) => stand.isConfirmed(block))).toBe(true);
  });

  it('sees a pin that comes while the others are followed', async () => {
    const file = newFile();
    await stand.putFile(file);
    age();
    await stand.sweep();
    let readings = 0;
    const { report } = await stand.round({
      livePins: async function* (): AsyncGenerator<PinPage> {
        readings += 1;
        yield {
          pins: readings === 1 ? [] : [{ root: file.root, replicas: 2 }],
          isCurrent: true,
        };
      },
    });
    expect(report).toMatchObject({ deletedBlocks: 0, reachedBlocks: 4, pins: 1 });
    expect(file.blocks.every((block) => stand.isConfirmed(block))).toBe(true);
  });

  it('at worst condemns what is pinned after the last look, never deletes it in that round', async () => {
    const file = newFile();
    await stand.putFile(file);
    age();
    const { report } = await stand.round();
    stand.pins.set(file.root, 3);
    expect(report).toMatchObject({ condemnedBlocks: 4, deletedBlocks: 0 });
    expect(await stand.sweep()).toMatchObject({ reachedBlocks: 4, deletedBlocks: 0 });
    expect(file.blocks.every((block) => stand.isConfirmed(block))).toBe(true);
  });

  it('leaves alone what comes in while the round goes on', async () => {
    const late = blockOf(randomBytes(50));
    age();
    const { report } = await stand.round({
      livePins: async function* (): AsyncGenerator<PinPage> {
        await stand.put(late);
        age();
        yield { pins: [], isCurrent: true };
      },
    });
    expect(report).toMatchObject({ condemnedBlocks: 0, leasedBlocks: 0 });
    expect(stand.isConfirmed(late)).toBe(true);
  });

  it('lowers what blocks were kept for, tells which files, and lets go of nodes', async () => {
    const shared = blockOf(randomBytes(100));
    const [many, few] = [
      fileOf([shared, blockOf(randomBytes(10))]),
      fileOf([shared, blockOf(randomBytes(10))]),
    ];
    for (const [file, replicas] of [[many, 5] as const, [few, 2] as const]) {
      await stand.putFile(file);
      await stand.mark(file, replicas);
      stand.pins.set(file.root, replicas);
    }
    const replicasOf = (cid: (typeof shared)['cid']) =>
      stand.store.find(digestOfCid(cid))?.replicas;
    expect((await stand.round()).loweredRoots).toEqual([]);
    expect(replicasOf(shared.cid)).toBe(5);
    stand.pins.set(many.root, 3);
    expect((await stand.round()).loweredRoots.toSorted()).toEqual([many.root, few.root].toSorted());
    expect([replicasOf(shared.cid), replicasOf(many.root), replicasOf(few.root)]).toEqual([
      3, 3, 2,
    ]);
    expect(stand.store.find(digestOfCid(many.root))?.isNode).toBe(true);
    stand.pins.delete(many.root);
    age();
    await stand.round();
    expect(replicasOf(shared.cid)).toBe(2);
    expect(stand.store.find(digestOfCid(many.root))).toMatchObject({ replicas: 0, isNode: false });
  });

  it('does not lower what is kept for more while the round goes on', async () => {
    const file = newFile();
    await stand.putFile(file);
    await stand.mark(file, 2);
    await stand.round({
      livePins: async function* (): AsyncGenerator<PinPage> {
        await stand.mark(file, 4);
        yield { pins: [{ root: file.root, replicas: 2 }], isCurrent: true };
      },
    });
    expect(stand.store.find(digestOfCid(file.root))?.replicas).toBe(4);
  });

  it('deletes damaged records too', async () => {
    const block = blockOf(randomBytes(80 * KiB));
    await stand.put(block);
    await truncate(stand.pathOf(block), 10);
    expect(await stand.store.check(digestOfCid(block.cid))).toBe('corrupt');
    expect(stand.store.counts).toMatchObject({ blocks: 0, usedBytes: 0, damaged: 1 });
    age();
    await stand.sweep();
    expect(await stand.sweep()).toMatchObject({ deletedBlocks: 1, deletedBytes: 0 });
    expect(stand.store.counts).toMatchObject({ damaged: 0, condemned: 0 });
  });
});
