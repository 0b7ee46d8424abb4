/** Certificates for HTTPS, as an authority would issue them, made here: of a P-256 key, signed by itself. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface TestPair {
  readonly cert: string;
  readonly key: string;
}

/** A pair for localhost and 127.0.0.1. */
export function newPair({
  names = ['localhost'],
  notAfter = new Date(Date.now() + 90 * 86_400_000),
}: { readonly names?: readonly string[]; readonly notAfter?: Date } = {}): TestPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { cert: certificateOf(publicKey, privateKey, { names, notAfter }), key: pem(privateKey) };
}

const pem = (key: KeyObject): string => String(key.export({ type: 'pkcs8', format: 'pem' }));

function certificateOf(
  publicKey: KeyObject,
  privateKey: KeyObject,
  { names, notAfter }: { readonly names: readonly string[]; readonly notAfter: Date },
): string {
  const ecdsaSha256 = sequence(Buffer.from('06082a8648ce3d040302', 'hex'));
  const commonName = Buffer.from('0603550403', 'hex');
  const subject = sequence(der(0x31, sequence(commonName, der(0x0c, Buffer.from('test')))));
  const alternatives = sequence(
    ...names.map((name) => der(0x82, Buffer.from(name))),
    der(0x87, Buffer.of(127, 0, 0, 1)),
  );
  const extensions = sequence(sequence(Buffer.from('0603551d11', 'hex'), der(0x04, alternatives)));
  const content = sequence(
    der(0xa0, Buffer.of(2, 1, 2)),
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    ecdsaSha256,
    subject,
    sequence(time(new Date(0)), time(notAfter)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, extensions),
  );
  const signature = Buffer.concat([Buffer.of(0), sign('sha256', content, privateKey)]);
  const bytes = sequence(content, ecdsaSha256, der(0x03, signature));
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

/** GeneralizedTime. */
const time = (date: Date): Buffer =>
  der(0x18, Buffer.from(`${date.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`));

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...head), content]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
