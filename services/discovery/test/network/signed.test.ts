import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { PeerId, type Pin } from '@shoal/protocol';
import { base58btc } from 'multiformats/bases/base58';
import { createSigner, isAuthentic, peek } from '../../src/network/signed.ts';
import { draft } from '../integration/peer.ts';

function createPeer() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const seed = Buffer.from(String(privateKey.export({ format: 'jwk' }).d), 'base64url');
  const raw = Buffer.from(String(publicKey.export({ format: 'jwk' }).x), 'base64url');
  const prefix = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);
  const peerId = PeerId.parse(base58btc.baseEncode(Buffer.concat([prefix, raw])));
  return { peerId, signer: createSigner(Buffer.concat([seed, raw])) };
}
const pinOf = (origin: PeerId): Pin => ({
  ...draft('x'),
  v: 1,
  createdAtMs: 1,
  epoch: 1,
  deleted: false,
  clock: 1,
  origin,
});

describe('a signed pin', () => {
  const { peerId, signer } = createPeer();
  const signed = signer.sign('pin', pinOf(peerId));

  it('is read and verified', () => {
    expect(peek('pin', signed)).toEqual(pinOf(peerId));
    expect(isAuthentic('pin', pinOf(peerId), signed)).toBe(true);
  });

  it('is refused when altered, or signed by somebody else', () => {
    const altered = { ...signed, payload: signed.payload.replace('"x"', '"y"') };
    const content = peek('pin', altered);
    expect(content?.name).toBe('y');
    expect(content !== undefined && isAuthentic('pin', content, altered)).toBe(false);
    const forged = createPeer().signer.sign('pin', pinOf(peerId));
    expect(isAuthentic('pin', pinOf(peerId), forged)).toBe(false);
  });

  it('from before epochs is of the first one', () => {
    const { epoch: _, ...old } = pinOf(peerId);
    const content = peek('pin', { payload: JSON.stringify(old), signature: '' });
    expect(content).toEqual({ ...old, epoch: 0 });
  });

  it('is not a member record, nor is rubbish', () => {
    expect(peek('member', signed)).toBeUndefined();
    expect(peek('pin', { payload: '{', signature: '' })).toBeUndefined();
  });
});
