/** Tokens with a scope, as people write what they may do. */
import { type createToken, readToken } from '@shoal/chassis/roster';
import { Cid, DAG_SIZE_MAX_BYTES, GivenName, KeyId, type RecordId, Right } from '@shoal/protocol';
import { UsageError } from '../../failure.ts';
import { spanMs } from '../../files/read-expiry.ts';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
};

/** The options that say what a token may. */
export interface Wishes {
  readonly name?: string | undefined;
  readonly may?: string | undefined;
  readonly only?: string | undefined;
  readonly 'max-bytes'?: string | undefined;
  readonly for?: string | undefined;
}

/** @throws UsageError for what can't be read */
export function readDraft(wishes: Wishes, nowMs: number): Parameters<typeof createToken>[0] {
  const { name, may, only, 'max-bytes': maxBytes, for: span } = wishes;
  const lifeMs = span === undefined ? undefined : spanMs(span);
  if (span !== undefined && (lifeMs === undefined || lifeMs === 0))
    throw new UsageError(`--for takes a time (90min, 12h, 30d, 4w), not "${span}"`);
  return {
    name: readName(name),
    may: readRights(may),
    ...(only === undefined ? {} : { only: readCid(only) }),
    ...(maxBytes === undefined ? {} : { maxBytes: readSize(maxBytes) }),
    ...(lifeMs === undefined ? {} : { expiresAtMs: nowMs + lifeMs }),
    atMs: nowMs,
  };
}

function readName(text: string | undefined): string {
  const name = GivenName.safeParse(text);
  if (name.success) return name.data;
  throw new UsageError(
    'give it a name with --name, of 1 to 64 characters, by which you know it again',
  );
}

function readRights(text = ''): Right[] {
  const words = text.split(',').map((word) => word.trim());
  return words.map((word) => {
    const right = Right.safeParse(word);
    if (right.success) return right.data;
    throw new UsageError(
      `--may takes ${Right.options.join(', ')}, with commas between, not "${text}"`,
    );
  });
}

function readCid(text: string): Cid {
  const cid = Cid.safeParse(text);
  if (cid.success) return cid.data;
  throw new UsageError(`--only takes the CID of a file or folder ("baf…"), not "${text}"`);
}

function readSize(text: string): number {
  const [, count = '', unit = ''] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text) ?? [];
  const bytes = Math.round(Number(count) * (UNITS[unit.toLowerCase()] ?? NaN));
  if (count !== '' && bytes <= DAG_SIZE_MAX_BYTES) return bytes;
  throw new UsageError(`--max-bytes takes a size (500MB, 1GB, 2GiB), not "${text}"`);
}

/** The key of a token, from the token itself or from what `create` called its id. @throws UsageError */
export function tokenId(word: string): KeyId {
  const { token } = readToken(word);
  const id = KeyId.safeParse(token?.key.id ?? word);
  if (id.success) return id.data;
  throw new UsageError(`"${word.slice(0, 60)}" is neither a token nor the id of one`);
}

/** The signer of a token's grants: those that it has itself. @throws UsageError */
export function readIssuer(text: string, swarm: RecordId): Parameters<typeof createToken>[1] {
  const { token, reason } = readToken(text);
  if (token === undefined) throw new UsageError(`the token that signs: ${reason}`);
  const own = token.grants.at(-1)?.grant;
  if (own?.may.includes('admin') !== true)
    throw new UsageError(
      `the token that signs${own === undefined ? '' : `, "${own.name}",`} may not give tokens: that takes one with the right admin`,
    );
  return { swarm, key: token.key, grants: token.grants.map(({ signed }) => signed) };
}
