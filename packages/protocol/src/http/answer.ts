/** Reads an answer: the parsed reply, or the error that says what was refused. */
import type * as z from 'zod';
import { refusalOf } from '../bounded.ts';
import { problemFromBody } from '../problems/index.ts';
import { PROBLEM_TYPE, ProblemBody } from '../problems/problem.ts';

/**
 * A longer problem is not read: ours are some sentences and a list of five peers.
 * Past it: its details are not read.
 */
const PROBLEM_MAX_CHARS = 64 * 1024;

/** An answer whose body was read. */
export interface TextAnswer {
  readonly status: number;
  /** Media type; undefined where none is said. */
  readonly type: string | undefined;
  readonly text: string;
}

/**
 * An answer that is not of our contract: no problem of our catalogue, or a reply that the route doesn't
 * give. It comes from a proxy between, from another program, or from another version of this one.
 */
export class ForeignAnswer extends Error {
  readonly status: number;
  /** Of a kind that we don't know. */
  readonly problem: ProblemBody | undefined;

  constructor(message: string, { status, problem }: { status: number; problem?: ProblemBody }) {
    super(message);
    this.status = status;
    this.problem = problem;
  }
}

/**
 * The reply in an answer.
 * @param asked What was asked, for the error.
 * @throws Problem as the other side threw it; ForeignAnswer.
 */
export function readAnswer<R extends z.ZodType>(
  reply: R,
  answer: TextAnswer,
  asked: string,
): z.output<R> {
  if (answer.status >= 400) throw refusalIn(answer, asked);
  const parsed = reply.safeParse(jsonOf(answer.text));
  if (parsed.success) return parsed.data;
  const message = `the answer to ${asked} is refused: ${refusalOf(parsed.error)}`;
  throw new ForeignAnswer(message, { status: answer.status });
}

/** The refusal in an answer with a status of 400 or above: a Problem, or a ForeignAnswer. */
export function refusalIn({ status, type = '', text }: TextAnswer, asked: string): Error {
  const isProblem = type.startsWith(PROBLEM_TYPE) && text.length <= PROBLEM_MAX_CHARS;
  const problem = isProblem ? ProblemBody.safeParse(jsonOf(text)).data : undefined;
  const known = problem === undefined ? undefined : problemFromBody(problem);
  const message = `${asked} answered ${status}`;
  return known ?? new ForeignAnswer(message, { status, ...(problem && { problem }) });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // which no schema takes
  }
}
