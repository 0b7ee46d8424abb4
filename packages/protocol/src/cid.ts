import * as z from 'zod';

/**
 * The name of a block: CIDv1, sha2-256, raw or dag-pb, in lower-case base32 (always 59 characters). The
 * pattern is exact: 36 bytes begin with the four of the header and leave two bits of the last digit zero.
 */
export const Cid = z
  .string()
  .regex(
    /^baf(?:krei|ybei)[a-h][a-z2-7]{50}[aeimquy4]$/,
    'is not a CIDv1 in base32 (59 characters, begins with "bafkrei" or "bafybei")',
  )
  .brand('Cid');
export type Cid = z.infer<typeof Cid>;

/** A CID in any spelling of any version, as those who speak IPFS write it; what it names is looked at later. */
export const CidText = z
  .string()
  .meta({ pattern: '^(?:Qm[1-9A-HJ-NP-Za-km-z]{44}|[bBzZfFkKmMuU][0-9A-Za-z_+/=-]+)$' });
/** The same where what is longer than any is refused at once. */
export const AnyCid = CidText.max(512);

/** The sha-256 of a whole file, as `sha256sum` prints it: 64 lower-case hex digits. */
export const Sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'is not a sha-256 in lower-case hex (64 digits)')
  .brand('Sha256');
export type Sha256 = z.infer<typeof Sha256>;

/** A file's name in requests: its CID, or the sha-256 of its bytes. Hex may come in either case. */
export const FileHash = z.union([
  Cid,
  z
    .string()
    .regex(/^[0-9a-fA-F]{64}$/)
    .transform((hex) => Sha256.parse(hex.toLowerCase())),
]);
export type FileHash = z.infer<typeof FileHash>;

/** A peer's identity: its Ed25519 public key as a libp2p peer id (base58btc, `12D3Koo…`). */
export const PeerId = z
  .string()
  .regex(/^12D3Koo[1-9A-HJ-NP-Za-km-z]{45}$/, 'is not an Ed25519 peer id (12D3Koo…)')
  .brand('PeerId');
export type PeerId = z.infer<typeof PeerId>;
