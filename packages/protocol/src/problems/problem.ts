/**
 * Errors that cross a process boundary, as RFC 9457 "problem details".
 *
 * One definition gives a throwable class on the server, the JSON body on the wire, and the same
 * class again on the client. That is why this file sits in `protocol` and not beside the HTTP code:
 * the error is part of the contract. The catalogue is `problems.ts`.
 */
import * as z from 'zod';

/** The JSON body of every response with a status of 400 or above (RFC 9457 §3.1). */
export const ProblemBody = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int().min(400).max(599),
  detail: z.string().optional(),
  instance: z.string().optional(),
});
export type ProblemBody = z.infer<typeof ProblemBody>;

/** Media type of a problem body. */
export const PROBLEM_TYPE = 'application/problem+json';

/** Base of every error that a service may answer with; `cause` never leaves the process. */
export abstract class Problem extends Error {
  abstract readonly type: string;
  abstract readonly title: string;
  abstract readonly status: number;
  abstract readonly fields: Readonly<Record<string, unknown>>;

  /** @param instance URI reference of this occurrence: we use `urn:request:<id>`. */
  toBody(instance: string): ProblemBody {
    const { type, title, status, message, fields } = this;
    return { ...fields, type, title, status, detail: message, instance };
  }
}

/** The definition of one kind of problem. */
export interface ProblemDefinition<Fields extends z.ZodObject> {
  /** Stable identifier, a URI reference relative to the docs: clients switch on it. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly fields: Fields;
  /** A sentence for a person: what, which, and what to do. */
  readonly detail: (fields: z.infer<Fields>) => string;
}

/** Declares one kind of problem. The result is a class: `throw new BlockNotFound({ cid })`. */
export function defineProblem<const Fields extends z.ZodObject>(
  definition: ProblemDefinition<Fields>,
) {
  return class extends Problem {
    static readonly type = definition.type;
    static readonly title = definition.title;
    static readonly status = definition.status;
    static readonly fields = definition.fields;
    override readonly type = definition.type;
    override readonly title = definition.title;
    override readonly status = definition.status;
    override readonly fields: z.infer<Fields>;

    constructor(fields: z.infer<Fields>, options?: ErrorOptions) {
      super(definition.detail(fields), options);
      this.name = definition.title;
      this.fields = fields;
    }

    static fromBody(body: ProblemBody): Problem | undefined {
      const fields = definition.fields.safeParse(body);
      return fields.success ? new this(fields.data) : undefined;
    }
  };
}
