/** A roster for a test: an owner's keys, and records signed by them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { env as ownEnv } from 'node:process';
// Not chassis as a whole: nearly every test loads this package.
import { openIdentity } from '@shoal/chassis/identity';
import {
  createSeed,
  createToken,
  type KeyPair,
  keyPairOf,
  recordIdOf,
  Roster,
  saveRoster,
  type RosterChange,
  signChange,
  signRecord,
  type TokenDraft,
} from '@shoal/chassis/roster';
import type { KeyId, MayChange, PeerId, RecordId, Right, SignedRecord } from '@shoal/protocol';

export interface TestRoster {
  readonly owner: KeyPair;
  readonly recovery: KeyPair;
  readonly genesis: SignedRecord;
  readonly swarm: RecordId;
  sign(change: RosterChange, by?: KeyPair): SignedRecord;
  add(peerId: PeerId, rights?: { mayChange?: MayChange; mayInvite?: boolean }): SignedRecord;
  remove(peerId: PeerId): SignedRecord;
  /** The record that revokes a token. */
  revoke(token: KeyId): SignedRecord;
  token(
    may: readonly Right[],
    draft?: Partial<TokenDraft>,
  ): { readonly id: KeyId; readonly text: string };
  /** Puts a roster into a peer's data folder. */
  write(peerDataDir: string, records: readonly SignedRecord[]): void;
}

export function createTestRoster(): TestRoster {
  const owner = keyPairOf(createSeed());
  const recovery = keyPairOf(createSeed());
  const genesis = signRecord(
    { kind: 'genesis', recovery: recovery.id, atMs: Date.now(), nonce: 'a test' },
    owner,
  );
  const swarm = recordIdOf(genesis);
  const sign: TestRoster['sign'] = (change, by = owner) => signChange(change, swarm, by);
  return {
    owner,
    recovery,
    genesis,
    swarm,
    sign,
    add: (peerId, { mayChange = 'any', mayInvite = false } = {}) =>
      sign({ kind: 'add', peerId, mayChange, mayInvite }),
    remove: (peerId) =>
      sign({ kind: 'remove', peerId, pinsUntil: Date.now(), dropsPins: false, stands: [] }),
    revoke: (token) => sign({ kind: 'revoke', token }),
    token: (may, draft = {}) =>
      createToken({ name: 'a token', may, atMs: 1, ...draft }, { swarm, key: owner }),
    write(peerDataDir, records) {
      mkdirSync(peerDataDir, { recursive: true });
      const roster = new Roster();
      const { refused } = roster.take([genesis, ...records], { mayBegin: true });
      if (refused[0] !== undefined) throw new Error(refused[0].reason);
      saveRoster(peerDataDir, roster);
    },
  };
}

/** The peer id of a data folder, whose key is made when there is none. */
export const identityAt = (peerDataDir: string): PeerId =>
  openIdentity(join(peerDataDir, 'identity.key')).peerId;

/** The environment of a command line whose person has that roster's owner key, in this folder. */
export function ownerEnvironment(folder: string, { owner }: TestRoster): NodeJS.ProcessEnv {
  mkdirSync(folder, { recursive: true });
  const pem = owner.privateKey.export({ format: 'pem', type: 'pkcs8' });
  writeFileSync(join(folder, 'owner.key'), pem, { mode: 0o600 });
  return { ...ownEnv, SHOAL_CONFIG_DIR: folder };
}
