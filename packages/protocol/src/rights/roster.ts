/**
 * The roster: who belongs to the swarm. A set of signed records that only grows, the same at every member once all
 * have told each other (`swarm/roster.ts` says what they amount to). Owners sign them, whose keys live with people.
 * A swarm without a genesis record has no roster: who knows the swarm key belongs to it.
 */
import * as z from 'zod';
import { label, TimeMs } from '../bounded.ts';
import { PeerId } from '../cid.ts';

/**
 * Records in a roster: at half a KB each what a peer reads in a moment.
 * Past it: no more are taken.
 */
export const ROSTER_RECORDS_MAX = 10_000;
/** Records in one message or request. Past it: the rest comes in the next one. */
export const ROSTER_RECORDS_PER_MESSAGE_MAX = 500;
/** Uses that an invitation may have. Past it: make another one. */
export const INVITE_USES_MAX = 1000;
/**
 * Invitations that one member may sign.
 * Past it: those count whose ids come first; an owner signs others.
 */
export const INVITES_PER_MEMBER_MAX = 500;
/** Records of one signer that a removal may let stand. Past it: the record is refused. */
export const STANDING_MAX = 200;

/** A public key of Ed25519, in the spelling of peer ids: an owner's, an invitation's, a token's, a peer's. */
export const KeyId = PeerId;
export type KeyId = PeerId;

/** The id of a record: the sha-256 of its text, in base64url. */
export const RecordId = z
  .string()
  .length(43)
  .regex(/^[\w-]*$/, 'is not the id of a record')
  .brand('RecordId');
export type RecordId = z.infer<typeof RecordId>;

/** A name that a person gives to a peer, an owner or a token. */
export const GivenName = label(64).min(1);

/** Whose pins a member may change or delete: those made by itself, or any. */
export const MayChange = z.enum(['own', 'any']);
export type MayChange = z.infer<typeof MayChange>;

const fields = {
  v: z.literal(1),
  /** The swarm that this is about: the id of its genesis record. */
  swarm: RecordId,
  /** The key that signed it. */
  by: KeyId,
  /**
   * By the clock of who signed it: shown, and never compared with another clock, but for the logical one of pins that were
   * changed with a token that is revoked, or that comes from an owner that was removed.
   */
  atMs: TimeMs,
};

/** The first record: its id is the swarm's. Signed by the first owner. */
export const Genesis = z.object({
  v: z.literal(1),
  kind: z.literal('genesis'),
  by: KeyId,
  /** The key on paper, which may remove and add any owner. */
  recovery: KeyId,
  atMs: TimeMs,
  nonce: label(32),
});
export type Genesis = z.infer<typeof Genesis>;

export const RosterRecord = z.discriminatedUnion('kind', [
  Genesis,
  /** By an owner, or by the recovery key. */
  z.object({ ...fields, kind: z.literal('add-owner'), key: KeyId, name: GivenName }),
  /** By an owner that it stems from, or by the recovery key. Its records are void, but for those in `stands`. */
  z.object({
    ...fields,
    kind: z.literal('remove-owner'),
    key: KeyId,
    stands: z.array(RecordId).max(STANDING_MAX),
  }),
  /** By an owner. */
  z.object({
    ...fields,
    kind: z.literal('add'),
    peerId: PeerId,
    name: GivenName.optional(),
    mayChange: MayChange,
    /** Whether it may sign invitations itself, so that a person can invite by its console. */
    mayInvite: z.boolean().optional(),
  }),
  /** By an owner, or by the inviter where it may: the holder of the private key that belongs to `key` may join by way of one member. */
  z.object({
    ...fields,
    kind: z.literal('invite'),
    key: KeyId,
    inviter: PeerId,
    uses: z.int().min(1).max(INVITE_USES_MAX),
    /** By the clock of the inviter, which alone decides. */
    expiresAtMs: TimeMs,
    mayChange: MayChange,
  }),
  /** By the inviter, which counts uses; the proof is by the invitation's key, over `joinText`. */
  z.object({
    ...fields,
    kind: z.literal('join'),
    invite: KeyId,
    use: z.int().min(1).max(INVITE_USES_MAX),
    peerId: PeerId,
    name: GivenName.optional(),
    proof: z.string().max(100),
  }),
  /** By an owner; for good. Of the joins that it countersigned only those in `stands` hold. */
  z.object({
    ...fields,
    kind: z.literal('remove'),
    peerId: PeerId,
    reason: label(256).optional(),
    /** Versions of pins that it signed with a later logical clock are void. */
    pinsUntil: TimeMs,
    /** Whether also those before are. */
    dropsPins: z.boolean(),
    stands: z.array(RecordId).max(STANDING_MAX),
  }),
  /** By an owner; the latest counts. */
  z.object({ ...fields, kind: z.literal('name'), peerId: PeerId, name: GivenName }),
  /** An invitation that is withdrawn, by an owner. */
  z.object({ ...fields, kind: z.literal('close-invite'), key: KeyId }),
  /** A token that is no longer valid, by an owner: it, and all that it granted. */
  z.object({ ...fields, kind: z.literal('revoke'), token: KeyId }),
]);
export type RosterRecord = z.infer<typeof RosterRecord>;

/** The text that the holder of an invitation signs with its key: it is good for this peer's id alone. */
export const joinText = (swarm: RecordId, peerId: PeerId): string => `${swarm}\n${peerId}`;
