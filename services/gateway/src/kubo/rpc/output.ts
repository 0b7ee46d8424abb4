/**
 * An answer that grows: JSON values a line each, or bytes. Its head is sent with its first bytes, so
 * that a failure before them is still an error with a status. A later one destroys the
 * connection: a clean end would make half an answer look whole.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';

/** Unread progress of a client that reads nothing before its upload is over; more is left out. */
const BACKLOG_MAX_BYTES = 64 * 1024;

export interface Output {
  /** Adds a value, and waits until the client can take more. */
  line(value: unknown): Promise<void>;
  /** Adds a value that may be left out. */
  hint(value: unknown): void;
  /** Adds bytes, or text, and waits until the client can take more. */
  write(bytes: Uint8Array | string): Promise<void>;
  end(): void;
}

/** @param type of the content, and whether it is `values` or a `stream` of bytes. */
export function openOutput(
  reply: FastifyReply,
  { kind, type }: { readonly kind: 'values' | 'stream'; readonly type: string },
  { signal }: { signal: AbortSignal },
): Output {
  const { raw } = reply;
  const begin = (): void => {
    if (raw.headersSent) return;
    reply.hijack();
    raw.writeHead(200, {
      'content-type': type,
      'x-content-type-options': 'nosniff',
      [kind === 'values' ? 'x-chunked-output' : 'x-stream-output']: '1',
    });
  };
  const write: Output['write'] = async (bytes) => {
    begin();
    if (!raw.write(bytes)) await untilDrained(raw, { signal });
  };
  return {
    write,
    line: (value) => write(`${JSON.stringify(value)}\n`),
    hint(value) {
      begin();
      if (raw.writableLength < BACKLOG_MAX_BYTES) raw.write(`${JSON.stringify(value)}\n`);
    },
    end() {
      begin();
      raw.end();
    },
  };
}

async function untilDrained(
  raw: ServerResponse,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  if (raw.writableNeedDrain) await once(raw, 'drain', { signal });
}
