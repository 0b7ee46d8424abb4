/** Failures as Kubo's RPC tells them: a status that says little, and a body with one sentence. */
import { Problem, PROBLEM_TYPE, ProblemBody, RequestInvalid } from '@shoal/protocol';
import type { Dispatcher } from 'undici';

/** Of an answer that is no problem of ours, at most this much is shown. */
const TEXT_SHOWN_CHARS = 300;

/** `Code` of a failure, and of a command that was called wrongly. */
const CODE_FAILED = 0;
const CODE_MISUSED = 1;

/** A failure with the status that it is answered with; the message is shown as it is. */
export class RpcError extends Error {
  readonly status: number;
  /** Type of the problem that a service answered. */
  readonly problem: string | undefined;

  constructor(status: number, message: string, options: ErrorOptions & { problem?: string } = {}) {
    super(message, options);
    this.status = status;
    this.problem = options.problem;
  }

  toBody() {
    const isMisuse = this.status === 400;
    return {
      Message: this.message,
      Code: isMisuse ? CODE_MISUSED : CODE_FAILED,
      Type: 'error',
    };
  }
}

/** The command was called in a way that it does not take. */
export const misused = (message: string): RpcError => new RpcError(400, message);

/** Any error as one that may be shown. A fault of our own shows no detail. */
export function toRpcError(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  if (error instanceof Problem) {
    // Said before any command is looked at; of what a command met, Kubo says no more than that it failed.
    const isAtTheDoor = error.status === 403 || error instanceof RequestInvalid;
    return new RpcError(isAtTheDoor ? error.status : 500, error.message, { cause: error });
  }
  return new RpcError(500, 'the peer met a fault of its own; its log has the details', {
    cause: error,
  });
}

/** The refusal of a service as a failure in Kubo's form. Reads the answer away. */
export async function failureOf({
  statusCode,
  headers,
  body,
}: Pick<Dispatcher.ResponseData, 'statusCode' | 'headers' | 'body'>): Promise<RpcError> {
  const text = await body.text();
  if (!String(headers['content-type']).startsWith(PROBLEM_TYPE))
    return new RpcError(500, text.trim().slice(0, TEXT_SHOWN_CHARS) || `status ${statusCode}`);
  const { detail, title, type } = ProblemBody.parse(JSON.parse(text));
  return new RpcError(500, detail ?? title, { problem: type });
}
