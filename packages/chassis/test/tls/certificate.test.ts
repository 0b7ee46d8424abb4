import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { identityOf, peerIdOf, privateKeyOf, publicKeyOf } from '../../src/index.ts';
import { createCertificate, peerIdIn } from '../../src/tls/certificate.ts';
import { P256_CERTIFICATE } from './p256.ts';

const newKey = () => generateKeyPairSync('ed25519').privateKey;

/** What OpenSSL's own program makes of a certificate; undefined where there is none. */
function askOpenssl(pem: string): string | undefined {
  try {
    return execFileSync('openssl', ['x509', '-noout', '-text'], { input: pem }).toString();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

describe('the certificate of a peer', () => {
  const key = newKey();
  const { peerId, privateKeyRaw } = identityOf(key);

  it('holds its key, is signed by it, and is valid for all times', () => {
    const certificate = new X509Certificate(createCertificate(key));
    expect(peerIdIn(certificate)).toBe(peerId);
    expect(certificate.checkPrivateKey(key)).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.checkIssued(certificate)).toBe(true);
    expect(certificate.subject).toBe(`CN=${peerId}`);
    expect([certificate.validFromDate, certificate.validToDate].map(Number)).toEqual([
      0,
      Date.parse('9999-12-31T23:59:59Z'),
    ]);
  });

  it('has a number of its own, which is positive and has 16 bytes', () => {
    const serials = Array.from(
      { length: 300 },
      () => new X509Certificate(createCertificate(key)).serialNumber,
    );
    expect(serials.filter((serial) => !/^[4-7][0-9A-F]{31}$/.test(serial))).toEqual([]);
    expect(new Set(serials).size).toBe(300);
  });

  it('is read by OpenSSL as version 3, Ed25519', () => {
    const text = askOpenssl(createCertificate(key));
    for (const words of ['Version: 3 (0x2)', 'Signature Algorithm: ED25519', peerId])
      expect(text ?? words).toContain(words);
  });

  it('is no peer’s with another kind of key', () => {
    expect(peerIdIn(new X509Certificate(P256_CERTIFICATE))).toBeUndefined();
    expect(peerIdIn({ publicKey: generateKeyPairSync('x25519').publicKey })).toBeUndefined();
  });

  it('is no peer’s when its key can not be read', () => {
    const unreadable = {
      get publicKey(): never {
        throw new Error('unsupported');
      },
    };
    expect(peerIdIn(unreadable)).toBeUndefined();
  });

  it('is made of the key as it lies on disk', () => {
    const again = privateKeyOf(privateKeyRaw);
    expect(identityOf(again)).toEqual(identityOf(key));
  });
});

describe('a peer id', () => {
  it('is a key and back', () => {
    for (let round = 0; round < 20; round += 1) {
      const { peerId } = identityOf(newKey());
      const publicKey = publicKeyOf(peerId);
      expect(publicKey && peerIdOf(publicKey)).toBe(peerId);
    }
  });
});
