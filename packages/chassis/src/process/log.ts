import type { FastifyBaseLogger } from 'fastify';
import { pino } from 'pino';
import { writeLogLine } from './log-lines.ts';

/** Typed as fastify's logger: under `exactOptionalPropertyTypes` plugins refuse pino's own type. */
export type Log = FastifyBaseLogger;

/** Takes one line of a log, with its line break. */
export type WriteLine = (line: string) => void;

/** JSON lines, on stdout by default. Proofs and authorisation never reach a log. */
export function createLog(
  name: string,
  level: string,
  fields: Record<string, unknown> = {},
  write: WriteLine = writeLogLine,
): Log {
  const options = {
    name,
    level,
    base: { service: name, ...fields },
    redact: ['req.headers.authorization', 'req.headers["shoal-proof"]'],
    serializers: {
      err: pino.stdSerializers.err,
      req: (request: { method?: string; url?: string }) => ({
        method: request.method,
        // A path may carry a file name (PUT /files/:name): its first segment says enough.
        route: request.url?.split(/[?/]/)[1],
      }),
    },
  };
  // pino's own way to write tries again forever on a full disk, with the whole service standing still.
  return pino(options, { write: (line: string) => write(line) });
}
