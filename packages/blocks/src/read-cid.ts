/**
 * CIDs as others write them: any version, any base, with or without `/ipfs/`'s company. Inside Shoal
 * a block has one spelling (see `Cid`), since blocks are indexed by their digest.
 */
import { type Cid, CidUnsupported, type Codec, HashInvalid } from '@shoal/protocol';
import { base16 } from 'multiformats/bases/base16';
import { base32 } from 'multiformats/bases/base32';
import { base36 } from 'multiformats/bases/base36';
import { base58btc } from 'multiformats/bases/base58';
import { base64url } from 'multiformats/bases/base64';
import { CID } from 'multiformats/cid';
import { cidOf } from './cid.ts';

/** Multicodec codes of what Shoal reads (multiformats table). */
const RAW = 0x55;
const DAG_PB = 0x70;
const IDENTITY = 0x00;
const SHA2_256 = 0x12;
/**
 * An identity CID holds the block itself; longer ones are refused (IPIP-512).
 * Past it: 400 `cid-unsupported`.
 */
const IDENTITY_SIZE_MAX_BYTES = 128;
/** Text that is longer names no block that we could have. Past it: 400 `hash-invalid`. */
const CID_LENGTH_MAX = 512;

const BASES = base32.decoder
  .or(base58btc.decoder)
  .or(base36.decoder)
  .or(base16.decoder)
  .or(base64url.decoder);

/** A CID that names a block by its digest. */
export interface BlockCid {
  readonly kind: 'block';
  readonly cid: Cid;
  readonly asGiven: string;
}

/** A CID that holds the bytes itself. */
export interface IdentityCid {
  readonly kind: 'identity';
  readonly codec: Codec;
  readonly bytes: Uint8Array;
  readonly asGiven: string;
}

export type ReadCid = BlockCid | IdentityCid;

/**
 * Reads a CID in any spelling.
 * @throws HashInvalid for what is none; CidUnsupported for one with another hash or codec.
 */
export function readCid(text: string): ReadCid {
  const cid = parseCid(text);
  return readLink(cid, text);
}

/** The same for a link of a node. @throws CidUnsupported */
export function readLink(cid: CID, asGiven = cid.toString()): ReadCid {
  const codec = codecOf(cid);
  if (codec === undefined)
    throw new CidUnsupported({ cid: asGiven, reason: `its codec is 0x${cid.code.toString(16)}` });
  const { code, digest } = cid.multihash;
  if (code === IDENTITY) {
    if (digest.length > IDENTITY_SIZE_MAX_BYTES)
      throw new CidUnsupported({
        cid: `${asGiven.slice(0, 59)}…`,
        reason: `it holds ${digest.length} bytes itself, more than ${IDENTITY_SIZE_MAX_BYTES}`,
      });
    return { kind: 'identity', codec, bytes: digest, asGiven };
  }
  if (code !== SHA2_256 || digest.length !== 32)
    throw new CidUnsupported({
      cid: asGiven,
      reason: `its hash function is 0x${code.toString(16)} with ${digest.length} bytes`,
    });
  return { kind: 'block', cid: cidOf(codec, digest), asGiven };
}

/** A CID as the libraries for CARs take it. @throws HashInvalid */
export function parseCid(text: string): CID {
  if (text.length > CID_LENGTH_MAX) throw new HashInvalid({ hash: `${text.slice(0, 59)}…` });
  try {
    // Version 0 is base58btc without a prefix; every other begins with the letter of its base.
    if (text.length === 46 && text.startsWith('Qm')) return CID.parse(text);
    return CID.decode(BASES.decode(text.startsWith('B') ? text.toLowerCase() : text));
  } catch (cause) {
    throw new HashInvalid({ hash: text.slice(0, 100) }, { cause });
  }
}

function codecOf({ code }: CID): Codec | undefined {
  if (code === RAW) return 'raw';
  return code === DAG_PB ? 'dag-pb' : undefined;
}
