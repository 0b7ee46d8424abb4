/**
 * An answer that grows, a line of JSON each. Its head goes out with its first line, so what fails before
 * that is still a problem with a status. While there is nothing to say, an empty line now and then tells
 * the reader that the work goes on.
 */
import { once } from 'node:events';
import type { FastifyReply } from 'fastify';

const HEARTBEAT_MS = 5000;
/** Unread lines of a reader that reads nothing before its form is over. Past it: optional lines are dropped. */
const BACKLOG_MAX_BYTES = 64 * 1024;

export interface Lines<T> extends Disposable {
  readonly isBegun: boolean;
  /** Adds a line, and waits until the reader can take more. */
  add(value: T, options: { signal: AbortSignal }): Promise<void>;
  /** Adds a line that may be left out. */
  hint(value: T): void;
  /** The answer is whole. */
  end(last?: T): void;
}

export function openLines<T>(reply: FastifyReply): Lines<T> {
  const { raw } = reply;
  let heart: NodeJS.Timeout | undefined;
  const write = (text: string): boolean => {
    if (!raw.headersSent) {
      reply.hijack();
      raw.writeHead(200, { 'content-type': 'application/x-ndjson' });
      heart = setInterval(() => void raw.write('\n'), HEARTBEAT_MS);
    }
    return raw.write(text);
  };
  const textOf = (value: T): string => `${JSON.stringify(value)}\n`;
  return {
    get isBegun() {
      return raw.headersSent;
    },
    async add(value, { signal }) {
      if (!write(textOf(value)) && raw.writableNeedDrain) await once(raw, 'drain', { signal });
    },
    hint(value) {
      if (raw.writableLength < BACKLOG_MAX_BYTES) write(textOf(value));
    },
    end(last) {
      write(last === undefined ? '' : textOf(last));
      raw.end();
    },
    [Symbol.dispose]: () => clearInterval(heart),
  };
}
