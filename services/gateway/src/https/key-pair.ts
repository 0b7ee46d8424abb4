/**
 * A certificate and its key, as they are in two files. All that would make a browser's connection fail is found here and
 * said in words, since OpenSSL's own (`key values mismatch`) name no file.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ConfigError, type PeerConfig, type PeopleTls } from '@shoal/chassis';

export interface KeyFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface KeyPair {
  readonly tls: PeopleTls;
  readonly expiresAtMs: number;
  /** DNS names and addresses, as the certificate has them: `DNS:files.team.example, IP Address:192.0.2.7`. */
  readonly names: string;
  readonly certificate: X509Certificate;
}

/** The content of both files. */
export interface PairText {
  readonly cert: string;
  readonly key: string;
}

/** The files that the settings name; undefined when they name none. @throws ConfigError when only one of them is named. */
export function keyFilesOf({
  GATEWAY_TLS_CERT_FILE: certFile = '',
  GATEWAY_TLS_KEY_FILE: keyFile = '',
}: Pick<PeerConfig, 'GATEWAY_TLS_CERT_FILE' | 'GATEWAY_TLS_KEY_FILE'>): KeyFiles | undefined {
  if (certFile === '' && keyFile === '') return undefined;
  if (certFile === '' || keyFile === '')
    throw new ConfigError(
      'GATEWAY_TLS_CERT_FILE and GATEWAY_TLS_KEY_FILE belong together: give both, or none',
    );
  return { certFile, keyFile };
}

/** @throws ConfigError */
export const readPairText = ({ certFile, keyFile }: KeyFiles): PairText => ({
  cert: readText('GATEWAY_TLS_CERT_FILE', certFile),
  key: readText('GATEWAY_TLS_KEY_FILE', keyFile),
});

/** The pair, when it is one that can be served. @throws ConfigError */
export function checkPair({ cert, key }: PairText, { certFile, keyFile }: KeyFiles): KeyPair {
  const certificate = readCertificate(cert, certFile);
  if (!certificate.checkPrivateKey(readKey(key, keyFile)))
    throw new ConfigError(
      `GATEWAY_TLS_KEY_FILE: the key in ${keyFile} is not that of the first certificate in ${certFile}`,
    );
  const tls: PeopleTls = { cert, key, minVersion: 'TLSv1.2' };
  try {
    createSecureContext(tls);
  } catch (cause) {
    throw new ConfigError(
      `GATEWAY_TLS_CERT_FILE: ${certFile} can't be served: ${(cause as Error).message}`,
      { cause },
    );
  }
  return {
    tls,
    expiresAtMs: Date.parse(certificate.validTo),
    names: certificate.subjectAltName ?? '',
    certificate,
  };
}

function readText(setting: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ConfigError(`${setting}: can't read ${file}: ${(cause as Error).message}`, { cause });
  }
}

function readCertificate(text: string, file: string): X509Certificate {
  try {
    return new X509Certificate(text);
  } catch (cause) {
    throw new ConfigError(`GATEWAY_TLS_CERT_FILE: ${file} must hold a certificate in PEM`, {
      cause,
    });
  }
}

function readKey(text: string, file: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (cause) {
    throw new ConfigError(
      `GATEWAY_TLS_KEY_FILE: ${file} must hold a private key in PEM, without a passphrase`,
      { cause },
    );
  }
}
