import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { identityOf } from '@shoal/chassis';
import type { PeerId, Pin } from '@shoal/protocol';
import {
  createSigner,
  isAuthentic,
  peek,
  pinsOf,
  PINS_PER_BATCH_MAX,
  SignedBatch,
  SignedPin,
} from '../../src/network/signed.ts';
import { draft } from '../integration/peer.ts';

function createPeer() {
  const { privateKey } = generateKeyPairSync('ed25519');
  const { peerId, privateKeyRaw } = identityOf(privateKey);
  return { peerId, key: privateKey, signer: createSigner(privateKeyRaw) };
}
const pinOf = (origin: PeerId, name = 'x'): Pin => ({
  ...draft(name),
  v: 2,
  createdAtMs: 1,
  epoch: 1,
  deleted: false,
  clock: 1,
  origin,
});

/** A pin as it was signed before there were batches. */
function signedAlone(pin: Pin, key: KeyObject): SignedPin {
  const payload = JSON.stringify(pin);
  const signature = sign(null, Buffer.from(`shoal-pin-v1\n${payload}`), key);
  return { payload, signature: signature.toString('base64url') };
}

describe('a pin that is signed with others', () => {
  const { peerId, key, signer } = createPeer();
  const namesOf = (count: number) => Array.from({ length: count }, (_, index) => `file ${index}`);
  const batchOf = (count: number) =>
    signer.signPins(namesOf(count).map((name) => pinOf(peerId, name)));
  const isSound = (signed: SignedPin): boolean => {
    const content = peek('pin', SignedPin.parse(signed));
    return content !== undefined && isAuthentic('pin', content, signed);
  };

  it.each([1, 2, 3, 5, 8, 63, PINS_PER_BATCH_MAX])(
    'is read and verified alone, each of %d',
    (count) => {
      const pins = pinsOf(SignedBatch.parse(batchOf(count)));
      expect(pins.map((signed) => peek('pin', signed)?.name)).toEqual(namesOf(count));
      expect(pins.map(isSound)).toEqual(pins.map(() => true));
    },
  );

  it.each([1, 2, 3, 5, 8])('is refused when anything of it is altered, of %d', (count) => {
    const [batch, other] = [batchOf(count), pinsOf(batchOf(count + 1))];
    for (const [at, signed] of pinsOf(batch).entries()) {
      const { payload, signature, among } = signed;
      if (among === undefined) throw new Error('it has no path');
      const [stranger] = pinsOf(createPeer().signer.signPins([pinOf(peerId)]));
      const forgeries: Record<string, SignedPin> = {
        text: { ...signed, payload: payload.replace('"file', '"fine') },
        signature: { ...signed, signature: stranger?.signature ?? '' },
        alone: { payload, signature },
        'another place': { ...signed, among: { ...among, index: at + 1 } },
        'another size': { ...signed, among: { ...among, size: among.size + 8 } },
        'a longer path': {
          ...signed,
          among: { ...among, hashes: [...among.hashes, 'A'.repeat(43)] },
        },
        'the path in another batch': { ...signed, among: other[at]?.among },
      };
      if (count > 1)
        forgeries['a shorter path'] = {
          ...signed,
          among: { ...among, hashes: among.hashes.slice(1) },
        };
      for (const [what, forged] of Object.entries(forgeries))
        expect({ what, isSound: isSound(forged) }).toEqual({ what, isSound: false });
    }
  });

  it('is not known by the signature of another one that was found good', () => {
    const [one, two] = pinsOf(batchOf(2));
    if (one === undefined || two === undefined) throw new Error('no pins');
    expect(isSound(one)).toBe(true);
    expect(isSound({ ...two, payload: one.payload })).toBe(false);
    expect(isSound({ ...one, payload: JSON.stringify(pinOf(createPeer().peerId)) })).toBe(false);
  });

  it('may be from before there were batches', () => {
    const old: Pin = { ...pinOf(peerId), v: 1 };
    expect(isSound(signedAlone(old, key))).toBe(true);
    expect(isSound(signedAlone(old, createPeer().key))).toBe(false);
    const altered = signedAlone(old, key).payload.replace('"x"', '"y"');
    expect(isSound({ ...signedAlone(old, key), payload: altered })).toBe(false);
  });

  it('from before epochs is of the first one', () => {
    const { epoch: _, ...old } = pinOf(peerId);
    expect(peek('pin', { payload: JSON.stringify(old) })).toEqual({ ...old, epoch: 0 });
  });

  it('is not a member record, nor is rubbish', () => {
    const [signed] = pinsOf(batchOf(1));
    expect(signed && peek('member', signed)).toBeUndefined();
    expect(peek('pin', { payload: '{' })).toBeUndefined();
  });
});
