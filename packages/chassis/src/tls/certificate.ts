/**
 * The certificate of a peer: its own identity key, signed by itself. The key in it is the peer id, so nothing else in
 * it means anything: the name is for people who look, and it is valid for all times, as clocks may be wrong.
 *
 * Built here because Node reads certificates and makes none. A library for it (@peculiar/x509) brings eleven
 * others; what is needed of DER is nesting.
 */
import {
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  type X509Certificate,
} from 'node:crypto';
import type { PeerId } from '@shoal/protocol';
import { peerIdOf } from '../process/identity.ts';

/** RFC 5280 §4.1.2.9: at most 20 bytes, positive. */
const SERIAL_SIZE_BYTES = 16;
/** Of PEM, as OpenSSL reads it. */
const LINE_CHARS = 64;

/** A self-signed X.509 v3 certificate in PEM. @param privateKey Ed25519 */
export function createCertificate(privateKey: KeyObject): string {
  const publicKey = createPublicKey(privateKey);
  const name = sequence(set(sequence(COMMON_NAME, der(0x0c, Buffer.from(peerIdOf(publicKey))))));
  const content = sequence(
    der(0xa0, VERSION_3),
    der(0x02, newSerial()),
    ED25519,
    name,
    sequence(der(0x17, Buffer.from('700101000000Z')), der(0x18, Buffer.from('99991231235959Z'))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = Buffer.concat([Buffer.of(0), sign(null, content, privateKey)]);
  return toPem(sequence(content, ED25519, der(0x03, signature)));
}

/** The peer whose key a certificate holds; undefined when that is no Ed25519 key. */
export function peerIdIn(certificate: Pick<X509Certificate, 'publicKey'>): PeerId | undefined {
  let publicKey: KeyObject;
  try {
    ({ publicKey } = certificate);
  } catch {
    return undefined; // a kind of key that OpenSSL can't read
  }
  return publicKey.asymmetricKeyType === 'ed25519' ? peerIdOf(publicKey) : undefined;
}

/** Tag, length, content (X.690 §8.1); lengths of up to 65,535 bytes. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const lengthBytes =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...lengthBytes), content]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
const set = (...parts: readonly Uint8Array[]): Buffer => der(0x31, ...parts);

const VERSION_3 = Buffer.of(0x02, 0x01, 0x02);
/** id-Ed25519, 1.3.101.112 (RFC 8410), without parameters. */
const ED25519 = sequence(Buffer.of(0x06, 0x03, 0x2b, 0x65, 0x70));
/** id-at-commonName, 2.5.4.3. */
const COMMON_NAME = Buffer.of(0x06, 0x03, 0x55, 0x04, 0x03);

/** The top bit is clear, or the number would be negative, and the next one set, or it would begin with zeros. */
function newSerial(): Buffer {
  const bytes = randomBytes(SERIAL_SIZE_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function toPem(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(new RegExp(`.{1,${LINE_CHARS}}`, 'g')) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}
