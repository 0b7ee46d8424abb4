import { describe, expect, it } from '@jest/globals';
import {
  type Cid,
  type Grant,
  type KeyId,
  type PeerId,
  type Pin,
  type RecordId,
  type SignedRecord,
  TOKEN_PREFIX,
} from '@shoal/protocol';
import type { Owner } from '@shoal/swarm';
import { createSeed, type KeyPair, keyPairOf } from '../../src/roster/keys.ts';
import {
  hasRight,
  mayChangeWith,
  type TokenKey,
  tokenKeyIn,
  withRight,
} from '../../src/roster/pin-right.ts';
import { signText } from '../../src/roster/signed-text.ts';

const SWARM = 's'.repeat(43) as RecordId;
const [owner, other, token, child, peer, author] = Array.from({ length: 6 }, () =>
  keyPairOf(createSeed()),
) as [KeyPair, KeyPair, KeyPair, KeyPair, KeyPair, KeyPair];
const ELSE = 'bafkreib6epubmabzlffdhckpmvsodmjuro6xuaei2qwevs3t52xnlhaatu' as Cid;
const ROOT = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku' as Cid;

const anOwner: Owner = { addedBy: owner.id, name: undefined, sinceMs: 1 };
const viewWith = (
  part: {
    readonly owners?: readonly KeyId[];
    readonly ended?: ReadonlyMap<KeyId, number>;
    readonly swarmId?: RecordId;
  } = {},
) => ({
  swarmId: SWARM,
  ...part,
  owners: new Map((part.owners ?? [owner.id]).map((key) => [key, anOwner])),
  endedAtMs: part.ended ?? new Map<KeyId, number>(),
});

function grant(by: KeyPair, key: KeyPair, part: Partial<Grant> = {}): SignedRecord {
  const about = { v: 1, kind: 'grant', swarm: SWARM, by: by.id, key: key.id, atMs: 1 };
  const content = { ...about, name: 'n', may: ['delete'], ...part };
  return signText('grant', JSON.stringify(content), by.privateKey);
}
const holder = (part: Partial<Grant> = {}): TokenKey => ({
  key: token,
  grants: [grant(owner, token, part)],
});
const pin: Pin = {
  v: 2,
  root: ROOT,
  kind: 'file',
  name: 'n',
  sizeBytes: 1,
  blocks: 1,
  replicas: 2,
  createdAtMs: 1,
  epoch: 10,
  deleted: true,
  clock: 20,
  origin: peer.id,
  author: author.id,
};
const counts = (by: TokenKey, view = viewWith(), of: Pin = pin) => {
  const may = mayChangeWith(by, of, view);
  // A peer finds beforehand what all others find later.
  expect(hasRight(withRight(of, by), view)).toBe(may);
  return may;
};

describe('the right to a change of a pin', () => {
  it('is given by a token with the right to delete, from an owner', () => {
    expect(counts(holder())).toBe(true);
    expect(counts(holder({ may: ['admin'] }))).toBe(true);
    expect(counts(holder({ may: ['read', 'write'] }))).toBe(false);
    expect(counts({ key: token, grants: [grant(other, token)] })).toBe(false);
    expect(counts(holder({ swarm: 'o'.repeat(43) as RecordId }))).toBe(false);
    expect(counts(holder({ only: ROOT }))).toBe(true);
    expect(counts(holder({ only: ELSE }))).toBe(false);
    expect(hasRight(pin, viewWith())).toBe(false);
  });

  it('goes down from token to token, and only narrows', () => {
    const via = (first: Partial<Grant>, second: Partial<Grant> = {}): TokenKey => ({
      key: child,
      grants: [grant(owner, token, first), grant(token, child, second)],
    });
    expect(counts(via({ may: ['admin'] }))).toBe(true);
    expect(counts(via({ may: ['delete', 'write'] }))).toBe(false);
    expect(counts(via({ may: ['admin'] }, { may: ['write'] }))).toBe(false);
    expect(counts(via({ may: ['admin'], expiresAtMs: 15 }))).toBe(false);
    const skipped = { key: child, grants: [grant(owner, token), grant(other, child)] };
    expect(counts(skipped)).toBe(false);
    // Grants of a token that another has.
    expect(counts({ key: child, grants: holder().grants })).toBe(false);
  });

  it('ends with its token and with its owner, and what was done before stands', () => {
    expect(counts(holder({ expiresAtMs: 21 }))).toBe(true);
    expect(counts(holder({ expiresAtMs: 20 }))).toBe(false);
    const revoked = (atMs: number) => viewWith({ ended: new Map([[token.id, atMs]]) });
    expect([counts(holder(), revoked(20)), counts(holder(), revoked(19))]).toEqual([true, false]);
    const removed = (atMs: number) => viewWith({ owners: [], ended: new Map([[owner.id, atMs]]) });
    expect([counts(holder(), removed(20)), counts(holder(), removed(19))]).toEqual([true, false]);
    // A clock from before the upload that it ends is a lie.
    const late = { ...pin, epoch: 21 };
    expect(hasRight(withRight(late, holder()), viewWith())).toBe(false);
  });

  it('is for one version, and all that it says', () => {
    const signed = withRight(pin, holder());
    expect(hasRight(signed, viewWith())).toBe(true);
    const others: Partial<Pin>[] = [
      { root: ELSE },
      { name: 'm' },
      { sizeBytes: 2 },
      { blocks: 2 },
      { kind: 'directory' },
      { replicas: 1 },
      { expiresAtMs: 30 },
      { token: 't' },
      { createdAtMs: 2 },
      { epoch: 11 },
      { deleted: false },
      { deletedAtMs: 20 },
      { clock: 21 },
      { origin: other.id as PeerId },
      { author: other.id as PeerId },
    ];
    for (const part of others) expect(hasRight({ ...signed, ...part }, viewWith())).toBe(false);
    const { right } = signed;
    if (right === undefined) throw new Error('it has one');
    for (const part of [
      { signature: signText('pin-right', 'else', token.privateKey).signature },
      { grants: [{ payload: 'no JSON', signature: '' }] },
      { grants: [{ payload: '{}', signature: '' }] },
      { grants: right.grants.map((each) => ({ ...each, signature: '' })) },
    ])
      expect(hasRight({ ...signed, right: { ...right, ...part } }, viewWith())).toBe(false);
  });
});

describe('the token of a request', () => {
  const textOf = (content: unknown) =>
    TOKEN_PREFIX + Buffer.from(JSON.stringify(content)).toString('base64url');

  it('is read where there is one', () => {
    const seed = createSeed();
    const { grants } = holder();
    const text = textOf({ seed: Buffer.from(seed).toString('base64url'), grants });
    expect(tokenKeyIn(`Bearer ${text}`)).toMatchObject({ key: { id: keyPairOf(seed).id }, grants });
  });

  it.each([
    ['no header', undefined],
    ['another scheme', `Basic ${textOf({})}`],
    ['a plain write token', 'Bearer secret'],
    ['no JSON', `Bearer ${TOKEN_PREFIX}AAAA`],
    ['no seed', `Bearer ${textOf({ grants: holder().grants })}`],
    ['a text without end', `Bearer ${TOKEN_PREFIX}${'A'.repeat(100_000)}`],
  ])('is none with %s', (_, header) => {
    expect(tokenKeyIn(header)).toBeUndefined();
  });
});
