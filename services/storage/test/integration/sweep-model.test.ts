/**
 * The store and its sweep against a model in a map: random uploads, pins, repairs, drops, damage
 * and restarts, with rounds of the sweep in between. After every round what is held must be exactly
 * what the model says, and the model knows nothing of how the sweep works: a block lives while a pin
 * reaches it, an upload holds it or it is young, and is gone two rounds after that ended.
 */
import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { env } from 'node:process';
import { expect, it } from '@jest/globals';
import { KiB, Lease } from '@shoal/protocol';
import { createRandom } from '@shoal/testkit';
import { type Digest, digestOfCid } from '../../src/disk/block-record.ts';
import { blockOf, fileOf, GRACE_MS, openStand, type TestBlock, type TestFile } from './stand.ts';

/** MODEL_OPERATIONS=100000 for a long run. */
const OPERATIONS = Number(env['MODEL_OPERATIONS'] ?? 10_000);
const SEED = '20261';

interface ModelBlock {
  /** Leases that hold it. */
  readonly leases: Set<Lease>;
  /** True while leases alone speak for it: the last one that fails takes it along. */
  isProvisional: boolean;
  writtenAtMs: number;
  /** Rounds in a row that found nothing that speaks for it. */
  roundsUnreached: number;
  isRetired: boolean;
  isDamaged: boolean;
  /** What a drop must respect, as far as the sweep or a pin said. */
  replicas: number;
  isNode: boolean;
}

it(`removes no live block and leaves no garbage, in ${OPERATIONS} random operations (seed ${SEED})`, async () => {
  await using stand = await openStand();
  const random = createRandom(SEED);
  const below = (count: number) => random.int(0, count);
  const some = <T>(items: readonly T[], most: number): T[] =>
    Array.from({ length: 1 + below(most) }, () => random.pick(items));

  const leaves = Array.from({ length: 40 }, (_, at) =>
    blockOf(Buffer.alloc(at % 10 === 0 ? 64 * KiB + 1 + at : 20 + at, at + 1)),
  );
  const files: TestFile[] = Array.from({ length: 25 }, () => fileOf(some(leaves, 5)));
  const all = new Map<Digest, TestBlock>(
    files
      .flatMap(({ blocks }) => blocks)
      .concat(leaves)
      .map((block) => [digestOfCid(block.cid), block]),
  );
  const digests = [...all.keys()];
  const model = new Map<Digest, ModelBlock>();
  const pins = new Map<TestFile, number>();
  let open: Lease[] = [];
  const counts = { condemned: 0, deleted: 0, damaged: 0, healed: 0, dropped: 0, reopened: 0 };

  // ── What the model says ──────────────────────────────────────────────────────────────────────
  const digestsOf = (file: TestFile) => file.blocks.map(({ cid }) => digestOfCid(cid));
  const isNodeOf = (file: TestFile, digest: Digest) =>
    file.nodes.some(({ cid }) => digestOfCid(cid) === digest);
  const isHeld = (digest: Digest) => model.get(digest)?.isDamaged === false;
  const demandOn = (digest: Digest) => {
    const by = [...pins].filter(([file]) => digestsOf(file).includes(digest));
    return {
      replicas: Math.max(0, ...by.map(([, replicas]) => replicas)),
      isNode: by.some(([file]) => isNodeOf(file, digest)),
    };
  };
  const put = (digest: Digest, lease: Lease | undefined) => {
    const old = model.get(digest);
    if (old === undefined) {
      model.set(digest, {
        leases: new Set(lease === undefined ? [] : [lease]),
        isProvisional: lease !== undefined,
        writtenAtMs: stand.clock.nowMs,
        roundsUnreached: 0,
        isRetired: false,
        isDamaged: false,
        replicas: 0,
        isNode: false,
      });
      return;
    }
    old.writtenAtMs = stand.clock.nowMs;
    if (lease === undefined) old.isProvisional = false;
    else old.leases.add(lease);
    old.isDamaged = false;
    old.isRetired = false;
    old.roundsUnreached = 0;
  };
  const mark = (file: TestFile, replicas: number) => {
    for (const digest of digestsOf(file)) {
      const block = model.get(digest);
      if (block === undefined) continue;
      const isNode = isNodeOf(file, digest);
      const isMore = block.replicas < replicas || (isNode && !block.isNode);
      if (isMore || block.roundsUnreached > 0) block.isRetired = false;
      block.replicas = Math.max(block.replicas, replicas);
      block.isNode ||= isNode;
      block.isProvisional = false;
      block.roundsUnreached = 0;
    }
  };

  // ── What happens ─────────────────────────────────────────────────────────────────────────────
  const operations: Record<string, [weight: number, run: () => Promise<void>]> = {
    upload: [
      20,
      async () => {
        const lease =
          open.length < 4 || random.share() < 0.3 ? Lease.parse(randomUUID()) : random.pick(open);
        if (!open.includes(lease)) open.push(lease);
        for (const [digest, block] of some([...all], 4)) {
          await stand.put(block, lease);
          put(digest, lease);
        }
      },
    ],
    join: [
      5,
      async () => {
        if (open.length === 0) return;
        const lease = random.pick(open);
        const asked = some(digests, 4);
        expect(await stand.store.join(lease, asked)).toEqual(asked.map(isHeld));
        for (const digest of asked.filter(isHeld)) {
          const block = model.get(digest);
          block?.leases.add(lease);
          const writtenAtMs = stand.clock.nowMs;
          Object.assign(block ?? {}, { isRetired: false, roundsUnreached: 0, writtenAtMs });
        }
      },
    ],
    endLease: [
      10,
      async () => {
        if (open.length === 0) return;
        const lease = random.pick(open);
        open = open.filter((each) => each !== lease);
        const isKept = random.share() < 0.5;
        await stand.store.endLease(lease, isKept ? 'completed' : 'given-up');
        for (const [digest, block] of model) {
          if (!block.leases.delete(lease)) continue;
          if (isKept) block.isProvisional = false;
          else if (block.isProvisional && block.leases.size === 0) model.delete(digest);
        }
      },
    ],
    repair: [
      10,
      async () => {
        for (const [digest, block] of some([...all], 3)) {
          await stand.put(block);
          put(digest, undefined);
        }
      },
    ],
    pinWhole: [
      12,
      async () => {
        const file = random.pick(files);
        const replicas = 1 + below(5);
        await stand.putFile(file);
        for (const digest of digestsOf(file)) put(digest, undefined);
        stand.pins.set(file.root, replicas);
        pins.set(file, replicas);
        await stand.mark(file, replicas);
        mark(file, replicas);
      },
    ],
    changeReplicas: [
      6,
      async () => {
        if (pins.size === 0) return;
        const file = random.pick([...pins.keys()]);
        const replicas = 1 + below(6);
        stand.pins.set(file.root, replicas);
        pins.set(file, replicas);
      },
    ],
    unpin: [
      10,
      async () => {
        if (pins.size === 0) return;
        const file = random.pick([...pins.keys()]);
        stand.pins.delete(file.root);
        pins.delete(file);
      },
    ],
    drop: [
      8,
      async () => {
        const asked = [...new Set(some(digests, 4))];
        const replicas = 1 + below(4);
        const entries = asked.map((digest) => ({ digest, isNode: false }));
        const retired = await stand.store.retire(entries, replicas);
        const mayRetire = (digest: Digest) => {
          const block = model.get(digest);
          if (block === undefined || block.isDamaged || block.leases.size > 0) return false;
          return block.replicas <= replicas && !(block.replicas > 0 && block.isNode);
        };
        expect(retired).toEqual(asked.map(mayRetire));
        const going = asked.filter((_, at) => retired[at]);
        for (const digest of going) Object.assign(model.get(digest) ?? {}, { isRetired: true });
        if (random.share() < 0.4) {
          await stand.store.unretire(going);
          for (const digest of going) Object.assign(model.get(digest) ?? {}, { isRetired: false });
        } else if (random.share() < 0.7) {
          counts.dropped += await stand.store.drop(going);
          for (const digest of going) model.delete(digest);
        }
      },
    ],
    damage: [
      5,
      async () => {
        const held = digests.filter(
          (each) => isHeld(each) && all.get(each)!.bytes.length > 64 * KiB,
        );
        if (held.length === 0) return;
        const digest = random.pick(held);
        const block = all.get(digest)!;
        if (random.share() < 0.5) await rm(stand.pathOf(block));
        else await writeFile(stand.pathOf(block), Buffer.alloc(block.bytes.length));
        expect(await stand.store.check(digest)).toBe('corrupt');
        Object.assign(model.get(digest) ?? {}, { isDamaged: true });
        counts.damaged += 1;
      },
    ],
    heal: [
      6,
      async () => {
        for (const [digest, block] of model)
          if (block.isDamaged && block.roundsUnreached === 0) {
            await stand.put(all.get(digest)!);
            put(digest, undefined);
            counts.healed += 1;
          }
      },
    ],
    check: [
      4,
      async () => {
        const digest = random.pick(digests);
        expect(await stand.store.check(digest)).toBe(isHeld(digest) ? 'sound' : 'absent');
      },
    ],
    wait: [
      10,
      async () => {
        stand.clock.nowMs += below(GRACE_MS);
      },
    ],
    reopen: [
      1,
      async () => {
        // Memory goes: retirements, and leases, which tests end before (what is left of them across
        // a restart is another test's subject).
        for (const lease of open) await stand.store.endLease(lease, 'completed');
        open = [];
        for (const block of model.values()) {
          if (block.leases.size > 0) block.isProvisional = false;
          block.leases.clear();
          block.isRetired = false;
        }
        await stand.reopen();
        counts.reopened += 1;
      },
    ],
    drySweep: [
      2,
      async () => {
        const before = { ...stand.store.counts };
        const { heldUpBy } = await stand.sweep({ isDryRun: true });
        expect(heldUpBy === undefined).toBe(listable());
        expect(stand.store.counts).toEqual(before);
      },
    ],
    sweep: [
      8,
      async () => {
        const canList = listable();
        const report = await stand.sweep();
        expect(report.heldUpBy === undefined).toBe(canList);
        counts.condemned += report.condemnedBlocks;
        counts.deleted += report.deletedBlocks;
        if (canList)
          for (const [digest, block] of model) {
            const demand = demandOn(digest);
            const isYoung = stand.clock.nowMs - block.writtenAtMs < GRACE_MS;
            if (demand.replicas > 0) {
              block.roundsUnreached = 0;
              block.replicas = Math.min(block.replicas, demand.replicas);
              block.isNode &&= demand.isNode;
            } else if (block.leases.size === 0 && (block.roundsUnreached > 0 || !isYoung)) {
              block.roundsUnreached += 1;
              Object.assign(block, { replicas: 0, isNode: false });
              if (block.roundsUnreached === 2) model.delete(digest);
            }
          }
        compare();
      },
    ],
  };
  /** Every pinned file's nodes are held: without, a round may not do anything. */
  const listable = () =>
    [...pins.keys()].every((file) => file.nodes.every(({ cid }) => isHeld(digestOfCid(cid))));
  const compare = () => {
    const held = (of: (digest: Digest) => unknown) => digests.filter(of);
    expect(held((digest) => stand.store.find(digest) !== undefined)).toEqual(held(isHeld));
    expect(held((digest) => stand.store.findConfirmed(digest) !== undefined)).toEqual(
      held((digest) => {
        const block = model.get(digest);
        return isHeld(digest) && block?.isRetired === false && block.roundsUnreached === 0;
      }),
    );
    const blocks = held(isHeld);
    expect(stand.store.counts).toMatchObject({
      blocks: blocks.length,
      usedBytes: blocks.reduce((sum, digest) => sum + all.get(digest)!.bytes.length, 0),
      damaged: [...model.values()].filter(({ isDamaged }) => isDamaged).length,
      condemned: [...model.values()].filter(({ roundsUnreached }) => roundsUnreached > 0).length,
    });
  };

  const lots = Object.entries(operations).flatMap(([name, [weight]]) =>
    Array.from({ length: weight }, () => name),
  );
  const trail: string[] = [];
  try {
    for (let at = 0; at < OPERATIONS; at += 1) {
      const name = random.pick(lots);
      trail.push(name);
      await operations[name]![1]();
      if (at % 50 === 0) compare();
    }
    // The end of everything: nothing is pinned or held, so all is garbage.
    for (const lease of open) await stand.store.endLease(lease, 'completed');
    stand.pins.clear();
    stand.clock.nowMs += GRACE_MS;
    await stand.sweep();
    await stand.sweep();
    expect(stand.store.counts).toMatchObject({ blocks: 0, damaged: 0, condemned: 0 });
    expect([...stand.store.scan(undefined, 10)]).toEqual([]);
  } catch (error) {
    const last = trail.slice(-12).join(' ');
    throw new Error(`seed ${SEED}, operation ${trail.length}: … ${last}`, { cause: error });
  }
  // The run met what it is about.
  for (const [name, count] of Object.entries(counts))
    expect([name, count > 20]).toEqual([name, true]);
}, 1_200_000);
