/**
 * The certificate of the gateway, kept up to date. The program that renews it (certbot, Tailscale) replaces files or the
 * links that lead to them, in one way or the other, and the two files one after the other; so both are read again once
 * in a while and compared, which sees every way. Rejected: watching the files, as what a link leads to changes
 * unseen, and a signal, as a peer in one process has one for all services.
 *
 * A pair that can't be served is refused and the one before kept, with a line in the log that says why; it is tried again
 * when it changes.
 */
import type { AcceptingPeople, Log, Loop, Loops, PeopleTls } from '@shoal/chassis';
import type { GatewayConfig } from '../config.ts';
import type { Metrics } from '../metrics.ts';
import { checkPair, type KeyFiles, keyFilesOf, type KeyPair, readPairText } from './key-pair.ts';

/** Authorities renew a month before the end (Let's Encrypt), so by then it has failed for two weeks. */
const WARN_BEFORE_MS = 14 * 86_400_000;
/** The warning is said again after this. */
const WARN_EVERY_MS = 86_400_000;

export interface CertificateDeps {
  readonly loops: Loops;
  readonly metrics: Pick<Metrics, 'tlsHandshakes' | 'certificateExpires' | 'certificateRenewals'>;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

/**
 * HTTPS by the settings; undefined where they name no certificate. Disposing ends the looks at the files.
 * @throws ConfigError when the pair can't be served.
 */
export function openCertificate(
  config: GatewayConfig,
  deps: CertificateDeps,
): (Disposable & { readonly people: AcceptingPeople }) | undefined {
  const files = keyFilesOf(config);
  if (files === undefined) return undefined;
  const certificate = new Certificate(files, deps);
  tellNames(certificate.pair, config, deps.log);
  const looks: Loop = deps.loops.start({
    name: 'certificate',
    everyMs: () => config.GATEWAY_TLS_LOOK_MS,
    run: () => certificate.look(),
  });
  return {
    people: {
      tls: certificate.pair.tls,
      onServing: (renew) => certificate.onRenewal(renew),
      handshakes: deps.metrics.tlsHandshakes,
    },
    [Symbol.dispose]: () => looks[Symbol.dispose](),
  };
}

/** A name that the certificate has and the peer doesn't answer to is a mistake that looks like another one. */
function tellNames(
  { certificate, names }: KeyPair,
  { GATEWAY_HOST_NAMES: hostNames }: GatewayConfig,
  log: Pick<Log, 'warn'>,
): void {
  const uncovered = hostNames.filter((name) => certificate.checkHost(name) === undefined);
  if (uncovered.length > 0)
    log.warn({ names: uncovered }, 'GATEWAY_HOST_NAMES has names that the certificate is not for');
  const unanswered = names
    .split(', ')
    .filter((name) => name.startsWith('DNS:') && !name.includes('*') && name.includes('.'))
    .map((name) => name.slice('DNS:'.length).toLowerCase())
    .filter((name) => !hostNames.includes(name));
  if (unanswered.length > 0)
    log.warn(
      { names: unanswered },
      'the certificate is for names under which this peer does not answer: list them in GATEWAY_HOST_NAMES',
    );
}

class Certificate {
  readonly #files: KeyFiles;
  readonly #deps: CertificateDeps;
  #pair: KeyPair;
  /** The text that was read last, taken or not. */
  #seen: string;
  #renew: ((tls: PeopleTls) => void) | undefined;
  #warnedAtMs = -Infinity;

  constructor(files: KeyFiles, deps: CertificateDeps) {
    this.#files = files;
    this.#deps = deps;
    const text = readPairText(files);
    this.#pair = checkPair(text, files);
    this.#seen = text.cert + text.key;
    this.#tell();
  }

  get pair(): KeyPair {
    return this.#pair;
  }

  onRenewal(renew: (tls: PeopleTls) => void): void {
    this.#renew = renew;
  }

  /** Takes a renewed pair. */
  look(): void {
    const { log, metrics } = this.#deps;
    let seen = '';
    try {
      const text = readPairText(this.#files);
      seen = text.cert + text.key;
      if (seen !== this.#seen) {
        this.#take(checkPair(text, this.#files));
        metrics.certificateRenewals.inc({ outcome: 'taken' });
        log.info({ expiresAtMs: this.#pair.expiresAtMs }, 'the renewed certificate is served');
      }
    } catch (err) {
      if (seen !== this.#seen) {
        metrics.certificateRenewals.inc({ outcome: 'refused' });
        log.warn({ err }, 'the changed certificate was refused; the one before is served');
      }
    }
    this.#seen = seen;
    this.#tell();
  }

  #take(pair: KeyPair): void {
    const nowMs = Date.now();
    if (pair.expiresAtMs <= nowMs && this.#pair.expiresAtMs > nowMs)
      throw new Error(`it expired on ${pair.certificate.validTo}`);
    this.#renew?.(pair.tls);
    this.#pair = pair;
    this.#warnedAtMs = -Infinity;
  }

  #tell(): void {
    const { log, metrics } = this.#deps;
    const { expiresAtMs, certificate } = this.#pair;
    metrics.certificateExpires.set(expiresAtMs / 1000);
    const nowMs = Date.now();
    if (expiresAtMs - nowMs > WARN_BEFORE_MS || nowMs - this.#warnedAtMs < WARN_EVERY_MS) return;
    this.#warnedAtMs = nowMs;
    log.warn(
      { expires: certificate.validTo, file: this.#files.certFile },
      nowMs >= expiresAtMs
        ? 'the certificate for HTTPS has expired: browsers refuse it; renew it'
        : 'the certificate for HTTPS expires soon: renew it',
    );
  }
}
