/** The catalogue: every error that a service may answer with. `type` never changes once released. */
import type { Problem, ProblemBody } from './problem.ts';
import { REQUEST_PROBLEMS } from './requests.ts';
import { FileGone, FileNotFound, SWARM_PROBLEMS } from './swarm.ts';
import { UPLOAD_PROBLEMS } from './uploads.ts';

export * from './requests.ts';
export * from './swarm.ts';
export * from './uploads.ts';

/** Every kind of problem, for the docs and for `problemFromBody`. */
export const PROBLEMS = [...REQUEST_PROBLEMS, ...UPLOAD_PROBLEMS, ...SWARM_PROBLEMS] as const;

/** Whether a file's hash has no live pin: it never had one that we know of, or has none any more. */
export function isFileMissing(error: unknown): boolean {
  return error instanceof FileNotFound || error instanceof FileGone;
}

/** Turns a body from the wire back into the class that was thrown; undefined for a foreign problem. */
export function problemFromBody(body: ProblemBody): Problem | undefined {
  return PROBLEMS.find(({ type }) => type === body.type)?.fromBody(body);
}
