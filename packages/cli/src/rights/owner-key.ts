/**
 * The key of an owner of swarms. It lives with the person, in `~/.config/shoal`, and never on a peer: a
 * thief of a peer can add and remove nobody. The recovery key is printed once, to be kept on paper.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openIdentity, privateKeyOf } from '@shoal/chassis/identity';
import { createSeed, type KeyPair, keyPairOfSecret } from '@shoal/chassis/roster';
import { base32 } from 'multiformats/bases/base32';
import type { Context } from '../context.ts';
import { CommandFailure, UsageError } from '../failure.ts';

const SECRET_SIZE_BYTES = 18;
const CHECK_SIZE_BYTES = 2;
const GROUP_CHARS = 4;
/** In base32, five bits each. */
const DIGITS = ((SECRET_SIZE_BYTES + CHECK_SIZE_BYTES) * 8) / 5;

/** Where a person's keys are. @throws UsageError without a home folder */
export function configDir({ env }: Pick<Context, 'env'>): string {
  const own = env['SHOAL_CONFIG_DIR'];
  if (own) return own;
  const config = env['XDG_CONFIG_HOME'] ?? (env['HOME'] && join(env['HOME'], '.config'));
  if (!config) throw new UsageError('there is no home folder: give SHOAL_CONFIG_DIR');
  return join(config, 'shoal');
}

/** Where the key of an owner is, or would be. @throws UsageError without a home folder */
export const ownerKeyFile = (context: Pick<Context, 'env'>): string =>
  join(configDir(context), 'owner.key');

/** The person's key, made when there is none. @throws ConfigError when the file is no key */
export function ensureOwnerKey(context: Pick<Context, 'env'>): KeyPair & { readonly file: string } {
  const file = ownerKeyFile(context);
  const { peerId, privateKeyRaw } = openIdentity(file);
  return { id: peerId, privateKey: privateKeyOf(privateKeyRaw), file };
}

/** The person's key; undefined when there is none. */
export const findOwnerKey = (context: Pick<Context, 'env'>): KeyPair | undefined =>
  existsSync(ownerKeyFile(context)) ? ensureOwnerKey(context) : undefined;

/** @throws CommandFailure when there is none */
export function readOwnerKey(context: Pick<Context, 'env'>): KeyPair {
  const key = findOwnerKey(context);
  if (key !== undefined) return key;
  throw new CommandFailure(
    `this needs the key of an owner, and there is none at ${ownerKeyFile(context)}: run it where the swarm was begun, or sign with the recovery key (--recovery FILE)`,
  );
}

/** A new recovery key, as it is written down. */
export function createRecoveryKey(): { readonly text: string; readonly key: KeyPair } {
  const secret = createSeed().subarray(0, SECRET_SIZE_BYTES);
  // In lower case: no letter of these is taken for another on paper.
  const digits = base32.baseEncode(Buffer.concat([secret, checkOf(secret)]));
  const groups = digits.match(new RegExp(`.{1,${GROUP_CHARS}}`, 'g')) ?? [];
  return { text: groups.join('-'), key: keyPairOfSecret(secret, 'recovery') };
}

/** The recovery key from its text, however it was broken up. @throws CommandFailure when it is mistyped */
export function readRecoveryKey(text: string): KeyPair {
  const digits = text.toLowerCase().replace(/[\s-]/g, '').replaceAll('0', 'o').replaceAll('1', 'l');
  const isWhole = new RegExp(`^[a-z2-7]{${DIGITS}}$`).test(digits);
  const bytes = Buffer.from(isWhole ? base32.baseDecode(digits) : '');
  const secret = bytes.subarray(0, SECRET_SIZE_BYTES);
  const check = bytes.subarray(SECRET_SIZE_BYTES);
  if (bytes.length === SECRET_SIZE_BYTES + CHECK_SIZE_BYTES && check.equals(checkOf(secret)))
    return keyPairOfSecret(secret, 'recovery');
  throw new CommandFailure(
    'that is no recovery key: it is 32 letters and digits in groups of four; one is missing or mistyped',
  );
}

const checkOf = (secret: Uint8Array): Buffer =>
  createHash('sha256').update(secret).digest().subarray(0, CHECK_SIZE_BYTES);
