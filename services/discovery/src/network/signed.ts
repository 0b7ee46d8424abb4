/**
 * Signed messages: member records and pins.
 *
 * The exact text that was signed travels with the signature and is relayed as it is, so no canonical
 * form of JSON is needed and a relay can forge nothing. The signer's key is its peer id (an identity
 * multihash), so no key is looked up anywhere. RFC 8032, over `shoal-<kind>-v1`, a newline, the text.
 * libp2p's RecordEnvelope would do as well; this one outlives a change of the engine.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { RecentMap } from '@shoal/chassis';
import { type PeerId, MemberRecord, Pin, refusalOf, SignedRecord } from '@shoal/protocol';
import { base58btc } from 'multiformats/bases/base58';
import type * as z from 'zod';

/** Parsed public keys kept: one a member, and some. */
const KEYS_MAX = 2048;
/** The prefix of the key in an Ed25519 peer id: multihash and protobuf headers. */
const PEER_ID_PREFIX = Buffer.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);

export const Signed = SignedRecord;
export type Signed = SignedRecord;

/** The kinds of things that are signed, and who must have signed each. */
const KINDS = {
  member: {
    schema: MemberRecord,
    nameField: 'peerId',
    signerOf: (record: MemberRecord) => record.peerId,
  },
  pin: { schema: Pin, nameField: 'root', signerOf: (pin: Pin) => pin.origin },
} as const;
type Kind = keyof typeof KINDS;
type Content<K extends Kind> = z.output<(typeof KINDS)[K]['schema']>;

export interface Signer {
  sign<K extends Kind>(kind: K, content: Content<K>): Signed;
}

/** Signs with the peer's own key: seed and public key, 32 bytes each. */
export function createSigner(privateKeyRaw: Uint8Array): Signer {
  const d = Buffer.from(privateKeyRaw.subarray(0, 32)).toString('base64url');
  const x = Buffer.from(privateKeyRaw.subarray(32)).toString('base64url');
  const key = createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', d, x }, format: 'jwk' });
  return {
    sign(kind, content) {
      const payload = JSON.stringify(KINDS[kind].schema.parse(content));
      const signature = sign(null, message(kind, payload), key).toString('base64url');
      return { payload, signature };
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
export function read<K extends Kind>(kind: K, { payload }: Signed): Read<K> {
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
    isForeign: isForeign(fields, parsed.error),
  };
}

/** The same; undefined when it was refused. */
export const peek = <K extends Kind>(kind: K, signed: Signed): Content<K> | undefined =>
  read(kind, signed).content;

/** A later version of a record, or a word for a kind that was added since. No number is a language. */
function isForeign(fields: Readonly<Record<string, unknown>>, { issues }: z.ZodError): boolean {
  if (Number.isInteger(fields['v']) && fields['v'] !== 1) return true;
  return issues.some(({ code, path }) => {
    const [field] = path;
    return code === 'invalid_value' && field === 'kind' && typeof fields[field] === 'string';
  });
}

/** Whether the peer that the content names signed it. About 0.1 ms. */
export function isAuthentic<K extends Kind>(kind: K, content: Content<K>, signed: Signed): boolean {
  // As above: `signerOf` takes the content of this very kind.
  const signer = (KINDS[kind].signerOf as (content: Content<K>) => PeerId)(content);
  const key = publicKeyOf(signer);
  if (key === undefined) return false;
  const signature = Buffer.from(signed.signature, 'base64url');
  return verify(null, message(kind, signed.payload), key, signature);
}

const message = (kind: Kind, payload: string) => Buffer.from(`shoal-${kind}-v1\n${payload}`);

const keys = new RecentMap<PeerId, KeyObject>({ max: KEYS_MAX });

function publicKeyOf(peerId: PeerId): KeyObject | undefined {
  const known = keys.get(peerId);
  if (known !== undefined) return known;
  const id = base58btc.baseDecode(peerId);
  const raw = id.subarray(PEER_ID_PREFIX.length);
  if (raw.length !== 32 || !PEER_ID_PREFIX.equals(id.subarray(0, PEER_ID_PREFIX.length)))
    return undefined;
  const x = Buffer.from(raw).toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  keys.set(peerId, key);
  return key;
}
