/** Three peers that hear of pins and of rosters in any order, and compare what they have: in memory, by the product's rules. */
import { describe, expect, it } from '@jest/globals';
import type { Cid, PeerId, Pin, RecordId } from '@shoal/protocol';
import {
  createPinDigest,
  mergePins,
  type PinStamp,
  readRoster,
  type Removal,
  type PinRulesView,
} from '@shoal/swarm';
import { createRandom } from '@shoal/testkit';
import { Kept } from '../../src/pins/kept.ts';
import { compareBuckets } from '../../src/pins/pin-sync.ts';
import {
  type PinVersion,
  stampsOf,
  type StoredPin,
  versionsOf,
} from '../../src/state/pin-tables.ts';

const RUNS = 500;
const PEERS = ['p', 'q', 'r'] as PeerId[];
const OPEN = readRoster([], undefined);
const PIN = {
  v: 2,
  kind: 'file',
  name: 'n',
  sizeBytes: 1,
  blocks: 1,
  replicas: 2,
  createdAtMs: 1,
  deleted: false,
} as const;
type Random = ReturnType<typeof createRandom>;

/** A peer as pins are compared with it: what is stored, and by whose rules. */
class Side {
  readonly roots = new Map<Cid, StoredPin>();
  #view: PinRulesView = readRoster([], undefined);
  readonly #kept = new Kept({ self: 'self' as PeerId, roster: lookAt(() => this.#view) });

  rule(view: PinRulesView): void {
    this.#view = view;
    for (const stored of this.roots.values()) this.#keep(stored.pin.root, versionsOf(stored));
  }

  hear(versions: readonly PinVersion[]): void {
    for (const each of versions) {
      const known = versionsOf(this.roots.get(each.pin.root));
      if (this.#kept.isVoid(each.pin) || this.#kept.isKnown(each.pin, known)) continue;
      this.#keep(each.pin.root, this.#kept.of([...known, each]));
    }
  }

  /** One comparison, as `PinSync` makes it. */
  compareWith(other: Side): void {
    for (let pass = 0; pass < 2; pass += 1) {
      const { isOpen } = this.#kept;
      const { take, give } = compareBuckets(other.stamps(), this.stamps(), { isOpen });
      this.hear(take.flatMap((root) => versionsOf(other.roots.get(root))));
      other.hear(give.flatMap((root) => versionsOf(this.roots.get(root))));
    }
  }

  stamps(): PinStamp[] {
    return [...this.roots.values()].flatMap(stampsOf);
  }

  /** What is listed, and what the versions are. */
  whole(): unknown {
    const all = [...this.roots].sort(([a], [b]) => (a < b ? -1 : 1));
    return all.map(([, stored]) => ({
      pin: stored.pin,
      versions: versionsOf(stored).map(({ pin }) => pin),
    }));
  }

  digest(): string {
    const digest = createPinDigest();
    for (const stamp of this.stamps()) digest.toggle(stamp);
    return digest.total();
  }

  #keep(root: Cid, versions: readonly PinVersion[]): void {
    const kept = this.#kept.of(versions);
    const how = { nowMs: 1000, deletedSeenMs: () => 1 };
    const stored = this.#kept.form(kept, this.roots.get(root), how);
    if (stored === undefined) this.roots.delete(root);
    else this.roots.set(root, stored);
  }
}

const lookAt = (view: () => PinRulesView) => ({
  get view() {
    return view();
  },
});

/** Clocks apart by more than there are versions, so that no two have the same. */
const TICK_MS = 1000;
let versions = 0;

/** What anybody might sign, liars too, but not two with one clock: such are one for who compares stamps. */
function anyVersion(random: Random): PinVersion {
  versions = (versions + 1) % TICK_MS;
  const pin: Pin = {
    ...PIN,
    root: random.pick(['a', 'b'] as Cid[]),
    epoch: random.int(0, 3) * TICK_MS,
    clock: random.int(0, 4) * TICK_MS + versions,
    origin: random.pick(PEERS),
    author: random.pick(PEERS),
    ...random.pick<Partial<Pin>>([
      {},
      { expiresAtMs: 2000 },
      { deleted: true },
      { deleted: true, deletedAtMs: 5 },
    ]),
  };
  return { pin, signed: { payload: JSON.stringify(pin), signature: '' } };
}

function anyView(random: Random): PinRulesView {
  const removal = {
    v: 1,
    kind: 'remove',
    peerId: 'r',
    pinsUntil: random.int(0, 4) * TICK_MS,
    dropsPins: random.share() < 0.3,
  } as unknown as Removal; // what pins are read by, of it
  const isGone = random.share() < 0.3;
  const all = PEERS.map((peerId) => {
    const mayChange = random.share() < 0.4 ? ('any' as const) : ('own' as const);
    return [peerId, { mayChange }] as const;
  });
  const isRemoved = (peerId: PeerId) => isGone && peerId === 'r';
  return {
    ...OPEN,
    swarmId: 'swarm' as RecordId,
    members: new Map(all.filter(([peerId]) => !isRemoved(peerId))),
    former: new Map(all.filter(([peerId]) => isRemoved(peerId))),
    removed: new Map(isGone ? [[removal.peerId, removal]] : []),
  };
}

/** Lets three peers hear and meet at random; at last all have this roster, and told each other all. */
function play(random: Random, rules: PinRulesView): { sides: Side[]; heard: Pin[] } {
  const sides = [new Side(), new Side(), new Side()];
  const heard: Pin[] = [];
  for (let steps = random.int(0, 30); steps > 0; steps -= 1) {
    const side = random.pick(sides);
    const chance = random.share();
    if (chance < 0.7) {
      const version = anyVersion(random);
      heard.push(version.pin);
      side.hear([version]);
    } else if (chance < 0.9) side.compareWith(random.pick(sides));
    else if (rules !== OPEN) side.rule(anyView(random));
  }
  for (const side of sides) side.rule(rules);
  for (let round = 0; round < 2; round += 1)
    for (const side of sides) for (const other of sides) side.compareWith(other);
  return { sides, heard };
}

describe('peers that compare their pins', () => {
  it('end with the same ones, and equal digests, whatever rosters they had on the way', () => {
    const random = createRandom('pins converge');
    for (let run = 0; run < RUNS; run += 1) {
      const { sides } = play(random, anyView(random));
      const [first] = sides;
      for (const other of sides) {
        expect(other.digest()).toBe(first?.digest());
        expect(other.whole()).toEqual(first?.whole());
      }
    }
  });

  it('keep one version of each root where there is no roster: the latest', () => {
    const random = createRandom('pins of an open swarm');
    for (let run = 0; run < RUNS; run += 1) {
      const { sides, heard } = play(random, OPEN);
      for (const side of sides)
        for (const [root, stored] of side.roots) {
          expect(stored).not.toHaveProperty('versions');
          expect(stored.pin).toEqual(heard.filter((pin) => pin.root === root).reduce(mergePins));
        }
    }
  });
});
