import { describe, expect, it } from '@jest/globals';
import type { Cid, MayChange, PeerId, Pin, PinDraft, RecordId, Sha256 } from '@shoal/protocol';
import fc from 'fast-check';
import {
  amountTo,
  entriesOf,
  isVoid,
  keptVersions,
  type PinRules,
  type PinRulesView,
  rulesText,
  VERSIONS_PER_ROOT_MAX,
} from '../src/pin-entries.ts';
import {
  changedPin,
  isLive,
  mergePins,
  nextPin,
  purgedPin,
  tombstoneOf,
  undeletedPin,
} from '../src/pin-set.ts';

const [a, b, c, boss] = ['a', 'b', 'c', 'boss'] as PeerId[] as [PeerId, PeerId, PeerId, PeerId];
const draft: PinDraft = {
  root: 'root' as Cid,
  kind: 'file',
  name: 'n',
  sizeBytes: 1,
  sha256: 's' as Sha256,
  blocks: 1,
  replicas: 2,
};
const at = (origin: PeerId, nowMs: number) => ({ nowMs, origin });

interface Gone {
  readonly pinsUntil: number;
  readonly dropsPins?: boolean;
}

/** A swarm of a, b and c, and one that may change any pin. */
function rulesWith({
  any = [boss],
  gone = {},
}: {
  readonly any?: readonly PeerId[];
  readonly gone?: Readonly<Record<string, Gone>>;
} = {}): PinRulesView {
  const rightOf = (peerId: PeerId): MayChange => (any.includes(peerId) ? 'any' : 'own');
  const among = (isGone: boolean) =>
    new Map(
      [a, b, c, boss]
        .filter((peerId) => peerId in gone === isGone)
        .map((peerId) => [peerId, { mayChange: rightOf(peerId) }]),
    );
  const removed = Object.entries(gone).map(([peerId, { pinsUntil, dropsPins = false }]) => {
    const about = { v: 1, kind: 'remove', swarm: 's' as RecordId, by: a, atMs: 1 } as const;
    const removal = { ...about, peerId: peerId as PeerId, pinsUntil, dropsPins, stands: [] };
    return [peerId as PeerId, removal] as const;
  });
  return {
    swarmId: 's' as RecordId,
    members: among(false),
    former: among(true),
    removed: new Map(removed),
    owners: new Map(),
    endedAtMs: new Map(),
  };
}
const OPEN: PinRulesView = {
  owners: new Map(),
  endedAtMs: new Map(),
  swarmId: undefined,
  members: new Map(),
  former: new Map(),
  removed: new Map(),
};

const versions = (...pins: readonly Pin[]) => pins.map((pin) => ({ pin }));
const kept = (pins: readonly Pin[], rules: PinRules) =>
  keptVersions(versions(...pins), rules).map(({ pin }) => pin);
const entries = (pins: readonly Pin[], rules: PinRules) =>
  entriesOf(keptVersions(versions(...pins), rules), rules);
const whole = (pins: readonly Pin[], rules: PinRules, nowMs = 1000) =>
  amountTo(entries(pins, rules), nowMs)?.pin;

const peers = fc.constantFrom(a, b, c, boss);
/** Versions of one root as anybody might sign them, liars too. */
const anyPin = fc
  .record({
    epoch: fc.nat(3),
    clock: fc.nat(4),
    origin: peers,
    author: peers,
    name: fc.constantFrom('x', 'y'),
    replicas: fc.integer({ min: 1, max: 3 }),
    end: fc.constantFrom<Partial<Pin>>(
      {},
      {},
      { expiresAtMs: 3 },
      { expiresAtMs: 9 },
      { deleted: true },
      { deleted: true, deletedAtMs: 5 },
    ),
  })
  .map(({ end, ...part }): Pin => ({
    ...draft,
    v: 2,
    createdAtMs: 1,
    deleted: false,
    ...part,
    ...end,
  }));
const anyPins = fc.array(anyPin, { maxLength: 12 });
const anyRules = fc
  .record({
    any: fc.subarray([a, b, c, boss]),
    gone: fc.dictionary(
      peers,
      fc.record({ pinsUntil: fc.nat(4), dropsPins: fc.boolean() }, { requiredKeys: ['pinsUntil'] }),
      { maxKeys: 2 },
    ),
  })
  .map(rulesWith);

describe('versions of a root', () => {
  it('without a roster are one, the latest', () => {
    fc.assert(
      fc.property(fc.array(anyPin, { minLength: 1, maxLength: 8 }), (pins) => {
        const latest = pins.reduce(mergePins);
        expect(kept(pins, OPEN)).toEqual([latest]);
        expect(whole(pins, OPEN)).toBe(kept(pins, OPEN)[0]);
      }),
      { seed: 1 },
    );
  });

  it('are the same in whatever order and in whatever groups they came', () => {
    fc.assert(
      fc.property(anyPins, anyPins, anyRules, (some, others, rules) => {
        const all = kept([...some, ...others], rules);
        expect(kept([...others.toReversed(), ...some], rules)).toEqual(all);
        expect(kept([...kept(some, rules), ...kept(others, rules)], rules)).toEqual(all);
        expect(kept(all, rules)).toEqual(all);
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  it('amount to the same at peers that had other rosters meanwhile, once they have the same and told each other all', () => {
    const steps = fc.array(fc.tuple(anyPin, fc.option(anyRules)), { maxLength: 10 });
    fc.assert(
      fc.property(steps, steps, anyRules, (here, there, last) => {
        const run = (own: readonly (readonly [Pin, PinRulesView | null])[]): Pin[] => {
          let rules: PinRulesView = OPEN;
          let pins: Pin[] = [];
          for (const [pin, next] of own) {
            rules = next ?? rules;
            pins = kept([...pins, pin], rules);
          }
          return kept(pins, last);
        };
        const [one, two] = [run(here), run(there)];
        const [first, second] = [kept([...one, ...two], last), kept([...two, ...one], last)];
        expect(first).toEqual(second);
        expect(whole(first, last)).toEqual(whole(second, last));
      }),
      { seed: 3 },
    );
  });

  it('of an author stay what the author signed last, whatever anybody else signs', () => {
    fc.assert(
      fc.property(anyPins, anyRules, (pins, rules) => {
        const own = pins.filter((pin) => pin.origin === a && pin.author === a);
        const others = pins.filter((pin) => pin.origin !== a);
        for (const pin of kept(own, rules)) expect(kept([...own, ...others], rules)).toContain(pin);
      }),
      { seed: 4 },
    );
  });

  it('by members without the right to it neither end nor weaken the pin of another', () => {
    fc.assert(
      fc.property(anyPins, (pins) => {
        const rules = rulesWith();
        const mine = nextPin(draft, undefined, at(a, 1)); // most of the others are later
        const lies = pins.filter(({ origin }) => origin === b || origin === c);
        const pin = whole([mine, ...lies], rules);
        expect(pin !== undefined && isLive(pin, 1000)).toBe(true);
        expect(pin?.replicas).toBeGreaterThanOrEqual(mine.replicas);
        expect(pin?.expiresAtMs).toBeUndefined();
        expect(entries([mine, ...lies], rules).find(({ author }) => author === a)?.pin).toBe(mine);
      }),
      { seed: 5, numRuns: 500 },
    );
  });

  it('are as many as have room: first go those of signers that the roster does not know', () => {
    const strangers = Array.from({ length: VERSIONS_PER_ROOT_MAX }, (_, at0) =>
      nextPin(draft, undefined, at(`stranger-${at0}` as PeerId, 100 + at0)),
    );
    const mine = nextPin(draft, undefined, at(a, 1));
    const all = kept([mine, ...strangers], rulesWith());
    expect(all).toHaveLength(VERSIONS_PER_ROOT_MAX);
    expect(all).toContain(mine);
    expect(all).not.toContain(strangers[0]);
  });
});

describe('a file that two put', () => {
  const mine = nextPin({ ...draft, expiresAtMs: 500, replicas: 3 }, undefined, at(a, 10));
  const theirs = nextPin({ ...draft, name: 'theirs' }, undefined, at(b, 20));
  const rules = rulesWith();

  it('is kept as long, and as often, as any of them asks, under the later name', () => {
    const pin = whole([mine, theirs], rules, 100);
    expect(pin).toMatchObject({ name: 'theirs', replicas: 3, createdAtMs: 10, deleted: false });
    expect(pin).not.toHaveProperty('expiresAtMs');
    // What has ended asks for nothing.
    expect(whole([mine, theirs], rules, 600)).toMatchObject({ replicas: 2 });
  });

  it('stays for one when the other deletes it, and is deleted when both do', () => {
    const gone = tombstoneOf(mine, at(a, 30));
    expect(whole([mine, theirs, gone], rules)).toMatchObject({ deleted: false, name: 'theirs' });
    const both = [gone, tombstoneOf(theirs, at(b, 40))];
    expect(whole(both, rules)).toMatchObject({ deletedAtMs: 40 });
    // One of them can be brought back while the other was purged.
    expect(whole([gone, purgedPin(theirs, at(b, 40))], rules)).toMatchObject({ deletedAtMs: 30 });
    expect(whole([purgedPin(mine, at(a, 50)), purgedPin(theirs, at(b, 40))], rules)).toMatchObject({
      deleted: true,
    });
  });

  it('is deleted by who may change any, and its authors can bring it back', () => {
    const ended = [tombstoneOf(mine, at(boss, 30)), tombstoneOf(theirs, at(boss, 30))];
    expect(whole([mine, theirs, ...ended], rules)).toMatchObject({ deleted: true });
    const [gone] = ended;
    if (gone === undefined) throw new Error('one was made');
    const back = undeletedPin(gone, at(a, 40));
    expect(whole([mine, theirs, ...ended, back], rules, 100)).toMatchObject({ deleted: false });
  });
});

describe('a removed member', () => {
  const mine = nextPin(draft, undefined, at(a, 10));
  const owner = rulesWith();
  const gone = (part: Partial<Gone> = {}) =>
    rulesWith({ gone: { boss: { pinsUntil: 50, ...part } } });

  it('leaves what it did before its end', () => {
    const deleted = [mine, tombstoneOf(mine, at(boss, 30))];
    const put = nextPin(draft, undefined, at(boss, 20));
    expect(whole(deleted, gone())).toMatchObject({ deleted: true });
    expect(whole([put], gone())).toBe(put);
    expect(whole([put], gone({ dropsPins: true }))).toBeUndefined();
    expect(whole([mine, put], gone({ dropsPins: true }))).toBe(mine);
  });

  it('has ended nothing after it: neither pins of others nor its own', () => {
    const deleted = [mine, purgedPin(mine, at(boss, 60))];
    expect(whole(deleted, owner)).toMatchObject({ deleted: true });
    expect(whole(deleted, gone())).toMatchObject({ deleted: false });
    const put = nextPin(draft, undefined, at(boss, 20));
    const purged = purgedPin(put, at(boss, 60));
    expect(whole([put, purged], gone())).toMatchObject({ deleted: false, epoch: 20 });
    // The author's own word ends it still.
    const late = changedPin(mine, { name: 'late', expiresAtMs: 61 }, at(boss, 60));
    expect(whole([mine, late], gone())).toMatchObject({ name: 'n' });
    expect(whole([tombstoneOf(mine, at(a, 40)), late], gone())).toMatchObject({ deleted: true });
  });

  it('has put nothing after it', () => {
    const put = nextPin(draft, undefined, at(boss, 60));
    expect(isVoid(put, gone())).toBe(true);
    expect(kept([put], gone())).toEqual([]);
    expect(kept([mine, put], gone())).toEqual([mine]);
  });
});

describe('what members did before the swarm had a roster', () => {
  const mine = nextPin(draft, undefined, at(a, 10));

  it('counts for them, or for its author when they may change any pin', () => {
    const changed = changedPin(mine, { replicas: 1 }, at(b, 20));
    expect(entries([changed], rulesWith())).toMatchObject([{ author: b, pin: { author: b } }]);
    expect(whole([changed], rulesWith())).toMatchObject({ deleted: false, replicas: 1 });
    expect(entries([changed], rulesWith({ any: [b] }))).toMatchObject([{ author: a }]);
    expect(whole([changed], rulesWith({ any: [b] }))).toBe(changed);
    expect(whole([tombstoneOf(mine, at(b, 20))], rulesWith())).toMatchObject({ deleted: true });
  });

  it('counts for the origin in a version of before there were authors', () => {
    const { author: _, ...old } = { ...mine, v: 1 as const };
    expect(entries([old], rulesWith())).toEqual([{ author: a, pin: old, version: { pin: old } }]);
    expect(whole([old], rulesWith())).toBe(old);
  });
});

describe('a version with a right', () => {
  it('counts for the author that it names when the right is one, and for its signer when it is not', () => {
    const mine = nextPin(draft, undefined, at(a, 10));
    const right = { grants: [{ payload: 'p', signature: 's' }], signature: 's' };
    const ended = { ...tombstoneOf(mine, at(b, 20)), right };
    const hasRight = (pin: Pin) => pin.right === right;
    expect(whole([mine, ended], rulesWith())).toMatchObject({ deleted: false });
    expect(whole([mine, ended], { ...rulesWith(), hasRight })).toMatchObject({ deleted: true });
    // It is for that version alone.
    for (const made of [
      changedPin(mine, {}, at(b, 30)),
      purgedPin(ended, at(b, 30)),
      undeletedPin(ended, at(b, 30)),
    ])
      expect(made).not.toHaveProperty('right');
  });
});

describe('the text of the rules', () => {
  it('changes with what pins are read by, and with nothing else', () => {
    expect(rulesText(OPEN)).toBe('');
    const text = rulesText(rulesWith());
    expect(
      rulesText({ ...rulesWith(), members: new Map([...rulesWith().members].reverse()) }),
    ).toBe(text);
    const others = [
      rulesWith({ any: [a, boss] }),
      rulesWith({ gone: { a: { pinsUntil: 1 } } }),
      rulesWith({ gone: { a: { pinsUntil: 2 } } }),
      rulesWith({ gone: { a: { pinsUntil: 2, dropsPins: true } } }),
      rulesWith({ gone: { boss: { pinsUntil: 2 } } }),
      { ...rulesWith(), endedAtMs: new Map([[a, 1]]) },
      { ...rulesWith(), owners: new Map([[a, { addedBy: a, name: undefined, sinceMs: 1 }]]) },
    ].map(rulesText);
    expect(new Set([text, ...others]).size).toBe(others.length + 1);
    fc.assert(
      fc.property(anyPins, anyRules, (pins, one) => {
        const known = new Map([...one.members].toReversed());
        known.set('d' as PeerId, { mayChange: 'own' });
        const two = { ...one, members: known };
        expect(rulesText(two)).toBe(rulesText(one));
        expect(entries(pins, two)).toEqual(entries(pins, one));
      }),
      { seed: 6 },
    );
  });
});
