import { describe, expect, it } from '@jest/globals';
import { Cid, Right, type SignedRecord, TOKEN_LENGTH_MAX, TOKEN_PREFIX } from '@shoal/protocol';
import * as fc from 'fast-check';
import {
  checkToken,
  createSeed,
  createToken,
  type Issuer,
  type KeyPair,
  keyPairOf,
  readToken,
  recordIdOf,
  Roster,
  signRecord,
  signText,
  type TokenDraft,
} from '../../src/index.ts';

const newPair = (): KeyPair => keyPairOf(createSeed());
const owner = newPair();
const paper = newPair();
const genesis = signRecord(
  { kind: 'genesis', recovery: paper.id, atMs: 1, nonce: 'a nonce' },
  owner,
);
const swarm = recordIdOf(genesis);
const NOW = 1_000_000;
const FILE = Cid.parse('bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku');
const OTHER = Cid.parse('bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e');

function rosterOf(...records: SignedRecord[]) {
  const roster = new Roster();
  expect(roster.take([genesis, ...records], { mayBegin: true }).refused).toEqual([]);
  return roster;
}
const { view } = rosterOf();
const make = (draft: Partial<TokenDraft> = {}, issuer: Issuer = { swarm, key: owner }) =>
  createToken({ name: 'a token', may: ['read'], atMs: 1, ...draft }, issuer);
/** The holder of a token, as one that signs more. */
function issuerOf(text: string): Issuer {
  const { token } = readToken(text);
  if (token === undefined) throw new Error('it can be read');
  return { swarm, key: token.key, grants: token.grants.map(({ signed }) => signed) };
}
const revoke = (token: KeyPair['id'], by: KeyPair) =>
  signRecord({ kind: 'revoke', swarm, atMs: 2, token }, by);

describe('a token of an owner', () => {
  it('has the rights that it was given', () => {
    const { id, text } = make({ may: ['write'], only: FILE, maxBytes: 7, expiresAtMs: NOW + 1 });
    expect(checkToken(text, view, NOW).rights).toEqual({
      id,
      name: 'a token',
      may: new Set(['write']),
      only: FILE,
      maxBytes: 7,
      expiresAtMs: NOW + 1,
    });
  });

  it('has all rights as an administrator', () => {
    expect(checkToken(make({ may: ['admin'] }).text, view, NOW).rights?.may).toEqual(
      new Set(Right.options),
    );
  });

  it('fits into a header after as many grants as may be', () => {
    let { text } = make({ may: ['admin'], name: 'ñ'.repeat(64) });
    for (let depth = 1; depth < 4; depth += 1)
      ({ text } = make(
        { may: ['admin'], name: 'ñ'.repeat(64), only: FILE, maxBytes: 1, expiresAtMs: NOW + 1 },
        issuerOf(text),
      ));
    expect(text.length).toBeLessThan(TOKEN_LENGTH_MAX);
    expect(checkToken(text, view, NOW).rights).toBeDefined();
    expect(() => make({}, issuerOf(text))).toThrow('grants');
  });
});

describe('a token is refused', () => {
  const stranger = newPair();
  const reader = make().text;
  const admin = make({ may: ['admin'] });
  const ended = make({ expiresAtMs: NOW });
  const elsewhere = createToken(
    { name: 'a token', may: ['read'], atMs: 1 },
    { swarm: recordIdOf({ payload: 'another' }), key: owner },
  );
  const withContent = (change: (content: { seed: string; grants: SignedRecord[] }) => void) => {
    const content = JSON.parse(
      Buffer.from(reader.slice(TOKEN_PREFIX.length), 'base64url').toString(),
    ) as { seed: string; grants: SignedRecord[] };
    change(content);
    return TOKEN_PREFIX + Buffer.from(JSON.stringify(content)).toString('base64url');
  };

  it.each([
    ['that a stranger signed', make({}, { swarm, key: stranger }).text, /no owner/],
    ['that the recovery key signed', make({}, { swarm, key: paper }).text, /no owner/],
    ['that ended', ended.text, /expired at 1970/],
    [
      'whose giver ended',
      make({}, issuerOf(make({ may: ['admin'], expiresAtMs: NOW }).text)).text,
      /expired/,
    ],
    ['of another swarm', elsewhere.text, /another swarm/],
    [
      'from one that may not give any',
      make({}, issuerOf(make({ may: ['read', 'write', 'delete'] }).text)).text,
      /may not give/,
    ],
    [
      'for another file than its giver’s',
      make({ only: OTHER }, issuerOf(make({ may: ['admin'], only: FILE }).text)).text,
      /different files/,
    ],
    [
      'with the grants of one and the key of another',
      withContent((each) => (each.seed = Buffer.from(createSeed()).toString('base64url'))),
      /not the one/,
    ],
    [
      'whose rights were widened',
      withContent(({ grants: [one] }) =>
        Object.assign(one ?? {}, { payload: one?.payload.replace('["read"]', '["admin"]') }),
      ),
      /signature/,
    ],
    [
      'whose grant was signed as a record',
      withContent(
        ({ grants }) =>
          (grants[0] = signText('roster', grants[0]?.payload ?? '', owner.privateKey)),
      ),
      /signature/,
    ],
    ['cut short', reader.slice(0, -9), /can't be read/],
    ['without grants', withContent((each) => (each.grants = [])), /can't be read/],
    ['that is too long', TOKEN_PREFIX + 'A'.repeat(TOKEN_LENGTH_MAX), /longer/],
    ['that is something else', 'correct-horse-battery', /does not begin/],
  ])('%s', (_, text, reason) => {
    const checked = checkToken(text, view, NOW);
    expect(checked.rights).toBeUndefined();
    expect(checked.reason).toMatch(reason);
  });

  it('where the swarm has no owner', () => {
    expect(checkToken(reader, new Roster().view, NOW).reason).toMatch(/no owner/);
  });

  it('once it was revoked by an owner, or one that it stems from was', () => {
    const child = make({}, issuerOf(admin.text));
    for (const { id } of [admin, child]) {
      const revoked = rosterOf(revoke(id, owner)).view;
      expect(checkToken(child.text, revoked, NOW).reason).toMatch(/was revoked/);
    }
  });

  it('but not when somebody else revokes it', () => {
    const roster = rosterOf();
    const holder = issuerOf(admin.text).key;
    roster.take([revoke(admin.id, holder), revoke(admin.id, stranger)]);
    expect(checkToken(admin.text, roster.view, NOW).rights).toBeDefined();
  });

  it('when its owner is none any more', () => {
    const second = newPair();
    const base = { swarm, atMs: 2 };
    const added = signRecord({ ...base, kind: 'add-owner', key: second.id, name: 'second' }, owner);
    const token = make({}, { swarm, key: second }).text;
    expect(checkToken(token, rosterOf(added).view, NOW).rights).toBeDefined();
    const removed = signRecord(
      { ...base, kind: 'remove-owner', key: second.id, stands: [] },
      owner,
    );
    expect(checkToken(token, rosterOf(added, removed).view, NOW).reason).toMatch(/no owner/);
  });
});

describe('a token that a token gave', () => {
  it('never has more than its giver', () => {
    const rights = fc.uniqueArray(fc.constantFrom(...Right.options), { minLength: 1 });
    const bound = fc.option(fc.integer({ min: NOW + 1, max: NOW + 100 }), { nil: undefined });
    const draft = fc.record({
      may: rights,
      maxBytes: bound,
      expiresAtMs: bound,
      only: fc.constantFrom(undefined, FILE),
    });
    fc.assert(
      fc.property(draft, draft, (above, below) => {
        const giver = make({ ...above, may: [...new Set([...above.may, 'admin' as const])] });
        const given = checkToken(make(below, issuerOf(giver.text)).text, view, NOW).rights;
        expect(given?.only).toBe(above.only ?? below.only);
        for (const field of ['maxBytes', 'expiresAtMs'] as const)
          expect(given?.[field] ?? Infinity).toBe(
            Math.min(above[field] ?? Infinity, below[field] ?? Infinity),
          );
      }),
      { seed: 16, numRuns: 50 },
    );
  });

  it.each(['', 'shoal1.', 'shoal1.!!!!', 'shoal1.bnVsbA', 'shoal1.e30'])(
    'reads no sense into %s',
    (text) => {
      expect(checkToken(text, view, NOW).reason).toBeDefined();
    },
  );
});
