/**
 * An invitation as one line that people copy: `sh1_`, then base58 of its end, the inviter's id, its secret and where
 * the inviter is reached, with check digits. Base58 has no letters that look alike, and a double click marks it whole.
 *
 * Form: end in seconds (u32), the inviter's public key (32 bytes), the secret (16), then each address with its length
 * (u8) before it, and the first 4 bytes of the sha-256 over all that.
 */
import { createHash, randomBytes } from 'node:crypto';
import { PeerId } from '@shoal/protocol';
import { base58btc } from 'multiformats/bases/base58';
import { peerIdOf, publicKeyOf, publicKeyOfRaw } from '../process/identity.ts';
import { type KeyPair, keyPairOfSecret } from './keys.ts';

const PREFIX = 'sh1_';
/** Longest line that is read, with all addresses. Past it: it is no invitation. */
const LENGTH_MAX = 1024;
const SECRET_SIZE_BYTES = 16;
const KEY_SIZE_BYTES = 32;
const CHECK_SIZE_BYTES = 4;
const HEAD_SIZE_BYTES = 4 + KEY_SIZE_BYTES + SECRET_SIZE_BYTES;
/** Addresses in a line: more would make it long. Past it: the first ones are in it. */
const ADDRESSES_MAX = 4;

export interface InviteCode {
  readonly inviter: PeerId;
  readonly secret: Uint8Array;
  readonly expiresAtMs: number;
  /** `host:port` of the inviter's discovery service, by HTTP. */
  readonly addresses: readonly string[];
}

/** A line that should be an invitation is none; the message says why. */
export class InviteCodeWrong extends Error {}

export const createInviteSecret = (): Uint8Array => randomBytes(SECRET_SIZE_BYTES);

/** The key that signs for who has the invitation; the roster has its public half. */
export const keyPairOfInvite = (secret: Uint8Array): KeyPair => keyPairOfSecret(secret, 'invite');

export function writeInviteCode({ inviter, secret, expiresAtMs, addresses }: InviteCode): string {
  const end = Buffer.alloc(4);
  end.writeUInt32BE(Math.ceil(expiresAtMs / 1000));
  const key = publicKeyOf(inviter)?.export({ format: 'jwk' }).x;
  if (key === undefined) throw new Error(`${inviter} is not the id of a peer`);
  const places = addresses.slice(0, ADDRESSES_MAX).map((address) => {
    const text = Buffer.from(address);
    return Buffer.concat([Buffer.of(text.length), text]);
  });
  const body = Buffer.concat([end, Buffer.from(key, 'base64url'), secret, ...places]);
  return PREFIX + base58btc.baseEncode(Buffer.concat([body, checkOf(body)]));
}

/** @throws InviteCodeWrong that says what to do */
export function readInviteCode(text: string): InviteCode {
  const line = text.trim();
  if (!line.startsWith(PREFIX) || line.length > LENGTH_MAX)
    throw new InviteCodeWrong(`it is not an invitation: one begins with ${PREFIX}`);
  const whole = decode(line.slice(PREFIX.length));
  const body = whole.subarray(0, -CHECK_SIZE_BYTES);
  if (body.length < HEAD_SIZE_BYTES || !whole.subarray(-CHECK_SIZE_BYTES).equals(checkOf(body)))
    throw new InviteCodeWrong(
      'its check digits are wrong: a letter is missing or mistyped; copy it again',
    );
  const addresses: string[] = [];
  for (let at = HEAD_SIZE_BYTES; at < body.length;) {
    const length = body.readUInt8(at);
    addresses.push(body.subarray(at + 1, at + 1 + length).toString('latin1'));
    at += 1 + length;
  }
  if (addresses.some((address) => !/^[\w.:[\]-]+:\d{1,5}$/.test(address)))
    throw new InviteCodeWrong('an address in it can’t be read: it is of another version of Shoal');
  return {
    expiresAtMs: body.readUInt32BE(0) * 1000,
    inviter: PeerId.parse(peerIdOf(publicKeyOfRaw(body.subarray(4, 4 + KEY_SIZE_BYTES)))),
    secret: body.subarray(4 + KEY_SIZE_BYTES, HEAD_SIZE_BYTES),
    addresses,
  };
}

function decode(text: string): Buffer {
  try {
    return Buffer.from(base58btc.baseDecode(text));
  } catch {
    throw new InviteCodeWrong('it has a letter that no invitation has (0, O, I, l); copy it again');
  }
}

const checkOf = (body: Uint8Array): Buffer =>
  createHash('sha256').update(body).digest().subarray(0, CHECK_SIZE_BYTES);
