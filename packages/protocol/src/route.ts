/**
 * A route as data: what is asked, what is answered, and who may ask. Servers mount it, clients call
 * it, `/openapi.json` prints it; nothing else states a path.
 */
import type * as z from 'zod';
import type { Service } from './member.ts';
import type { PublicRead, Right } from './rights/token.ts';

/**
 * The callers that a route admits. `public`: every client that reaches the port. `peer`: members of the
 * swarm, by TLS. `any-peer`: a peer that proves by TLS which one it is, member or not: how a machine joins. `local`: only
 * the services of this same peer.
 */
export type Audience = 'public' | 'peer' | 'any-peer' | 'local';

/** Marks a body or reply that is plain bytes, streamed, not JSON. */
export const BYTES = 'bytes';

export interface Route<
  P extends z.ZodObject = z.ZodObject,
  Q extends z.ZodObject = z.ZodObject,
  B extends z.ZodType | typeof BYTES | undefined = z.ZodType | typeof BYTES | undefined,
  R extends z.ZodType | typeof BYTES = z.ZodType | typeof BYTES,
> {
  readonly service: Service;
  readonly audience: Audience;
  /** A GET answers HEAD too; HEAD and OPTIONS are named where they are more than that. */
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS';
  /** Path with `:name` placeholders, each a key of `params`. */
  readonly path: string;
  readonly summary: string;
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly reply: R;
  /** Headers that it reads beside those that every request may have; their names in lower case. */
  readonly headers?: z.ZodObject;
  /** Media types of a body that is bytes. Default: any. */
  readonly bodyTypes?: readonly string[];
  /** Media types of the answer, where it is not JSON alone; none for one that is in its headers. */
  readonly replyTypes?: readonly string[];
  /** Headers that every good answer has. */
  readonly replyHeaders?: readonly string[];
  /** Media types that refusals have beside that of problems. */
  readonly problemTypes?: readonly string[];
  /** The form of refusals that are JSON, but no problems. */
  readonly refusal?: z.ZodType;
  /** `always`: nothing is answered without a token, reads included, however open the peer is. */
  readonly token?: 'always';
  /** The right that a public route needs. Default: `read`, `write` or `delete`, by its method. */
  readonly right?: Right | 'none';
  /** The kind of read that it is, which an operator may leave open while others need a token. */
  readonly publicAs?: PublicRead;
  /** Whether it looks itself whether a token for one file is for this one; else such a token is refused. */
  readonly checksRoot?: true;
}

/** A route whose bodies are JSON: what `call` can call and `mount` can mount. */
export type JsonRoute<
  P extends z.ZodObject,
  Q extends z.ZodObject,
  B extends z.ZodType | undefined,
  R extends z.ZodType,
> = Route<P, Q, B, R>;

/** Declares a route; keeps the literal types. */
export function route<
  P extends z.ZodObject,
  Q extends z.ZodObject,
  B extends z.ZodType | typeof BYTES | undefined,
  R extends z.ZodType | typeof BYTES,
>(definition: Route<P, Q, B, R>): Route<P, Q, B, R> {
  return definition;
}

/** Fills in the placeholders and the query: `/blocks/:cid` with `{cid}` gives `/blocks/bafk…`. */
export function routePath(
  template: string,
  params: Readonly<Record<string, unknown>>,
  query: Readonly<Record<string, unknown>> = {},
): string {
  const path = template.replace(/:(\w+)/g, (_, name: string) =>
    encodeURIComponent(String(params[name])),
  );
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined);
  if (pairs.length === 0) return path;
  const search = new URLSearchParams();
  for (const [key, value] of pairs) search.set(key, String(value));
  return `${path}?${search.toString()}`;
}
