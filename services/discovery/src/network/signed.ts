/**
 * Signed messages: member records and pins.
 *
 * The exact text that was signed travels with the signature and is relayed as it is, so no canonical
 * form of JSON is needed and a relay can forge nothing. The signer's key is its peer id (an identity
 * multihash), so no key is looked up anywhere. RFC 8032, over `shoal-<kind>-v1`, a newline, the text.
 * libp2p's RecordEnvelope would do as well; this one outlives a change of the engine.
 *
 * Pins that are made at one moment have one signature: over `shoal-pins-v2`, a newline, and the root of the Merkle tree
 * of their texts. They travel as one batch; each can be relayed alone later, with its path to that root.
 */
import assert from 'node:assert';
import { sign } from 'node:crypto';
import { isSignature, isSignedBy, privateKeyOf, RecentMap, signText } from '@shoal/chassis';
import { type PeerId, MemberRecord, Pin, refusalOf, SignedRecord } from '@shoal/protocol';
import { MEMBERS_MAX } from '@shoal/swarm';
import * as z from 'zod';
import { rootOf, treeOf } from './merkle.ts';

/**
 * Signatures of batches that were found good, so that the pins of one that come alone cost one check.
 * Past it: the one that was met least recently is checked again.
 */
const ROOTS_MAX = 4096;
/** Pins under one signature: at about 1 KB each far below the largest message. Past it: another batch. */
export const PINS_PER_BATCH_MAX = 256;
/** Hashes beside the way of a pin up to the root. Past it: the pin is refused. */
const PATH_LENGTH_MAX = Math.log2(PINS_PER_BATCH_MAX);

export const Signed = SignedRecord;
export type Signed = SignedRecord;

const Sha256Text = z
  .string()
  .length(43)
  .regex(/^[\w-]*$/, 'is not a hash');

/** A pin, relayed as it was signed: with its place among those that were signed with it, or from before, alone. */
export const SignedPin = SignedRecord.extend({
  among: z
    .object({
      index: z.int().min(0).max(PINS_PER_BATCH_MAX),
      size: z.int().min(1).max(PINS_PER_BATCH_MAX),
      hashes: z.array(Sha256Text).max(PATH_LENGTH_MAX),
    })
    .optional(),
});
export type SignedPin = z.infer<typeof SignedPin>;

/** Pins that were signed together. */
export const SignedBatch = z.object({
  payloads: z.array(SignedRecord.shape.payload).min(1).max(PINS_PER_BATCH_MAX),
  signature: SignedRecord.shape.signature,
});
export type SignedBatch = z.infer<typeof SignedBatch>;

/** Each pin of a batch, so that it can go its own ways. */
export function pinsOf({ payloads, signature }: SignedBatch): SignedPin[] {
  const { root, paths } = treeOf(payloads);
  return payloads.map((payload, at) => {
    const among = paths[at];
    assert(among !== undefined, 'each leaf has a path');
    const signed = { payload, signature, among: { ...among, hashes: [...among.hashes] } };
    knownRoots.set(signed, root);
    return signed;
  });
}

/** Of pins whose paths were made here, so that they need not be walked again. */
const knownRoots = new WeakMap<SignedPin, Buffer>();

/** The kinds of things that are signed, and who must have signed each. */
const KINDS = {
  member: {
    schema: MemberRecord,
    versions: [1],
    nameField: 'peerId',
    signerOf: (record: MemberRecord) => record.peerId,
  },
  pin: { schema: Pin, versions: [1, 2], nameField: 'root', signerOf: (pin: Pin) => pin.origin },
} as const;
type Kind = keyof typeof KINDS;
type Content<K extends Kind> = z.output<(typeof KINDS)[K]['schema']>;

export interface Signer {
  sign(kind: 'member', record: MemberRecord): Signed;
  /** @param pins 1 to `PINS_PER_BATCH_MAX`. */
  signPins(pins: readonly Pin[]): SignedBatch;
}

/** Signs with the peer's own key: seed and public key, 32 bytes each. */
export function createSigner(privateKeyRaw: Uint8Array): Signer {
  const key = privateKeyOf(privateKeyRaw);
  return {
    sign(kind, content) {
      return signText(kind, JSON.stringify(KINDS[kind].schema.parse(content)), key);
    },
    signPins(pins) {
      assert(pins.length <= PINS_PER_BATCH_MAX, 'a batch is small enough for one message');
      const payloads = pins.map((pin) => JSON.stringify(Pin.parse(pin)));
      const { root } = treeOf(payloads);
      return { payloads, signature: sign(null, batchMessage(root), key).toString('base64url') };
    },
  };
}

/** The signed content; or why it was refused, and what it calls itself. */
export type Read<K extends Kind> =
  | { readonly content: Content<K> }
  | {
      readonly content: undefined;
      readonly name: string | undefined;
      readonly reason: string;
      /** It may be sound, in words that this version does not know. */
      readonly isForeign: boolean;
    };

/** Reads what was signed, within the bounds of its schema, without checking the signature. */
export function read<K extends Kind>(kind: K, { payload }: Pick<Signed, 'payload'>): Read<K> {
  if (kind !== 'member') return readAnew(kind, payload);
  let known = knownRecords.get(payload);
  if (known === undefined) {
    known = readAnew('member', payload);
    if (known.content !== undefined) knownRecords.set(payload, known);
  }
  return known as Read<K>; // of this very kind
}

/**
 * Records of members that were read: two that meet tell each other all, and of a thousand almost all are known.
 * Past it: the one that was met least recently is read again.
 */
const knownRecords = new RecentMap<string, Read<'member'>>({ max: 2 * MEMBERS_MAX });

function readAnew<K extends Kind>(kind: K, payload: string): Read<K> {
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch {
    const reason = 'it is not JSON';
    return { content: undefined, name: undefined, reason, isForeign: false };
  }
  const parsed = KINDS[kind].schema.safeParse(value);
  // The schema belongs to this very kind; TypeScript can't tie the two through the lookup.
  if (parsed.success) return { content: parsed.data as Content<K> };
  const fields: Record<string, unknown> =
    typeof value === 'object' && value !== null ? { ...value } : {};
  const name = fields[KINDS[kind].nameField];
  return {
    content: undefined,
    name: typeof name === 'string' ? name : undefined,
    reason: refusalOf(parsed.error),
    isForeign: isForeign(fields, KINDS[kind].versions, parsed.error),
  };
}

/** The same; undefined when it was refused. */
export const peek = <K extends Kind>(
  kind: K,
  signed: Pick<Signed, 'payload'>,
): Content<K> | undefined => read(kind, signed).content;

/** A later version of a record, or a word for a kind that was added since. No number is a language. */
function isForeign(
  fields: Readonly<Record<string, unknown>>,
  known: readonly unknown[],
  { issues }: z.ZodError,
): boolean {
  if (Number.isInteger(fields['v']) && !known.includes(fields['v'])) return true;
  return issues.some(({ code, path }) => {
    const [field] = path;
    return code === 'invalid_value' && field === 'kind' && typeof fields[field] === 'string';
  });
}

/** Whether the peer that the content names signed it. About 0.1 ms. */
export function isAuthentic<K extends Kind>(
  kind: K,
  content: Content<K>,
  signed: K extends 'pin' ? SignedPin : Signed,
): boolean {
  // As above: `signerOf` takes the content of this very kind.
  const signer = (KINDS[kind].signerOf as (content: Content<K>) => PeerId)(content);
  const { payload, signature }: Signed = signed;
  if (!('among' in signed) || signed.among === undefined) return isSignedBy(kind, signed, signer);
  const root = knownRoots.get(signed) ?? rootOf(payload, signed.among);
  if (root === undefined) return false;
  const name = `${signer}/${signature}/${root.toString('base64')}`;
  if (goodRoots.get(name) === true) return true;
  const isGood = isSignature(batchMessage(root), signature, signer);
  if (isGood) goodRoots.set(name, true);
  return isGood;
}

const goodRoots = new RecentMap<string, true>({ max: ROOTS_MAX });

const batchMessage = (root: Buffer) => Buffer.concat([Buffer.from('shoal-pins-v2\n'), root]);
