/** The wishes of a client that begins an upload: by query as for any upload, or by tus metadata. */
import type { TokenRights } from '@shoal/chassis';
import { FileNameInvalid, RequestInvalid, Sha256, UploadQuery } from '@shoal/protocol';
import { oneName } from '../request/stated.ts';
import type { UploadWishes } from '../resumable/log.ts';

const FIELDS = ['replicas', 'copies', 'expiresAt'] as const;

/** @throws RequestInvalid, FileNameInvalid */
export function readWishes(
  query: Readonly<Record<string, unknown>>,
  metadata: Readonly<Record<string, string | null>>,
  token?: TokenRights,
): UploadWishes {
  const given = (field: string): unknown => query[field] ?? metadata[field] ?? undefined;
  const fields = Object.fromEntries(FIELDS.map((field) => [field, given(field)]));
  const parsed = UploadQuery.safeParse(fields);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new RequestInvalid({ reason: `${issue?.path.join('.')}: ${issue?.message}` });
  }
  const { replicas, copies, expiresAt } = parsed.data;
  const name = nameOf(given('name'), metadata['filename']);
  const sha256 = sha256Of(given('sha256'));
  return {
    replicas,
    copies,
    ...(name === undefined ? {} : { name }),
    ...(expiresAt === undefined ? {} : { expiresAtMs: futureOf(expiresAt) }),
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(token === undefined ? {} : { token: tokenOf(token) }),
  };
}

const tokenOf = ({ id, name, maxBytes }: TokenRights) => ({
  id,
  name,
  ...(maxBytes === undefined ? {} : { maxBytes }),
});

/** A client that names its file twice means the file's own name; one that names none gets the CID. */
function nameOf(name: unknown, fileName: string | null | undefined): string | undefined {
  const chosen = fileName ?? name;
  if (chosen === undefined) return undefined;
  if (typeof chosen !== 'string') throw new FileNameInvalid({ reason: 'two names were given' });
  return oneName([chosen]);
}

function sha256Of(given: unknown): Sha256 | undefined {
  if (given === undefined) return undefined;
  const parsed = Sha256.safeParse(typeof given === 'string' ? given.toLowerCase() : given);
  if (parsed.success) return parsed.data;
  throw new RequestInvalid({ reason: 'sha256 is not 64 hex digits' });
}

function futureOf(expiresAt: string): number {
  const expiresAtMs = Date.parse(expiresAt);
  if (expiresAtMs > Date.now()) return expiresAtMs;
  throw new RequestInvalid({ reason: `expiresAt=${expiresAt} is in the past` });
}
