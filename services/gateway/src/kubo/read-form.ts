/**
 * The forms of Kubo's clients (RFC 7578), a part at a time, while they come in.
 *
 * Written here, because what counts is how forms end: one without its last boundary is an error, never
 * a file that is shorter, and a part that nobody reads holds nothing up. The boundary stands nowhere in
 * a part's bytes (RFC 2046 §5.1.1), so finding it is all there is to cutting.
 */
import { RpcError } from './rpc-error.ts';

const HEADERS_MAX_BYTES = 16 * 1024;
/** RFC 2046 §5.1.1 says 70. */
const BOUNDARY_MAX_CHARS = 70;
/** Bytes between two boundaries that are no part: there is no use for any. */
const PADDING_MAX_BYTES = 1024;
const LINE_END = '\r\n';

export interface FormPart {
  /** Of the field, in the wording of the form. */
  readonly name: string;
  /** As written; percent-encoded by Kubo's clients. */
  readonly fileName: string;
  readonly contentType: string;
  /** To be read before the next part is asked for; what is left is skipped then. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** The boundary that a content type states. @throws RpcError when it states none. */
export function boundaryOf(contentType: string | undefined): string {
  const match = /^multipart\/form-data\s*;.*?\bboundary=(?:"([^"]+)"|([^\s;,"]+))/i.exec(
    contentType ?? '',
  );
  const boundary = match?.[1] ?? match?.[2];
  if (boundary === undefined || boundary.length > BOUNDARY_MAX_CHARS)
    throw new RpcError(400, 'the body must be a form (multipart/form-data with a boundary)');
  return boundary;
}

/** The parts of a form. @throws RpcError when it is not one, or ends before its last boundary. */
export async function* readForm(
  source: AsyncIterable<Uint8Array>,
  boundary: string,
): AsyncGenerator<FormPart, void, undefined> {
  const delimiter = Buffer.from(`${LINE_END}--${boundary}`);
  const input = openInput(source);
  input.putBack(LINE_END); // the first boundary has no line before it
  await input.skipPast(delimiter, PADDING_MAX_BYTES, 'it does not begin with its boundary');
  for (;;) {
    const mark = await input.take(2);
    if (mark === '--') return;
    input.putBack(mark);
    const padding = await input.readPast(LINE_END, PADDING_MAX_BYTES, 'a boundary goes on');
    if (padding.trim() !== '') throw malformed('a boundary goes on');
    input.putBack(LINE_END); // a part without headers begins with the empty line
    const headers = await input.readPast(
      LINE_END + LINE_END,
      HEADERS_MAX_BYTES,
      'the headers of a part do not end',
    );
    const body = input.readUntil(delimiter);
    yield { ...readHeaders(headers), body };
    // What the reader left; nothing when it read all.
    for await (const _ of body);
  }
}

function readHeaders(text: string): Omit<FormPart, 'body'> {
  const headers = new Map<string, string>();
  for (const line of text.split(LINE_END)) {
    const colon = line.indexOf(':');
    if (colon > 0)
      headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  const disposition = headers.get('content-disposition') ?? '';
  return {
    name: parameter(disposition, 'name') ?? '',
    fileName: parameter(disposition, 'filename') ?? '',
    contentType: (headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '',
  };
}

function parameter(header: string, name: string): string | undefined {
  const match = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\\s]*))`, 'i').exec(header);
  return match?.[1]?.replace(/\\(.)/g, '$1') ?? match?.[2];
}

/** Bytes that were read and not yet used, and those that follow. */
function openInput(source: AsyncIterable<Uint8Array>) {
  const iterator = source[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);

  const more = async (): Promise<void> => {
    const next = await iterator.next();
    if (next.done === true) throw malformed('it ends without its last boundary');
    held = held.length === 0 ? Buffer.from(next.value) : Buffer.concat([held, next.value]);
  };
  const advance = (count: number): Buffer => {
    const taken = held.subarray(0, count);
    held = held.subarray(count);
    return taken;
  };
  const readPast = async (end: string | Buffer, sizeMaxBytes: number, fault: string) => {
    for (;;) {
      const at = held.indexOf(end);
      if (at > sizeMaxBytes || (at < 0 && held.length > sizeMaxBytes)) throw malformed(fault);
      if (at >= 0) {
        const text = advance(at).toString('utf8');
        advance(end.length);
        return text;
      }
      await more();
    }
  };
  return {
    readPast,
    async skipPast(end: Buffer, sizeMaxBytes: number, fault: string): Promise<void> {
      await readPast(end, sizeMaxBytes, fault);
    },
    async take(count: number): Promise<string> {
      while (held.length < count) await more();
      return advance(count).toString('latin1');
    },
    putBack(text: string): void {
      held = Buffer.concat([Buffer.from(text, 'latin1'), held]);
    },
    /**
     * Bytes up to the delimiter, which is taken away. Leaving a loop over them ends nothing: the rest
     * comes with the next loop.
     */
    readUntil(delimiter: Buffer): AsyncIterable<Uint8Array> {
      let isOver = false;
      const next = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
        while (!isOver) {
          const at = held.indexOf(delimiter);
          // Of a delimiter that is not whole yet, all but its last byte may be here.
          const certain = at < 0 ? held.length - delimiter.length + 1 : at;
          if (certain > 0) return { done: false, value: advance(certain) };
          if (at < 0) {
            await more();
            continue;
          }
          advance(delimiter.length);
          isOver = true;
        }
        return { done: true, value: undefined };
      };
      return { [Symbol.asyncIterator]: () => ({ next }) };
    },
  };
}

function malformed(reason: string): RpcError {
  return new RpcError(400, `the form can't be read: ${reason}`);
}
