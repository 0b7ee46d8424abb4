/**
 * The forms of Kubo's clients (RFC 7578), a part at a time, while they come in.
 *
 * Written here, because what counts is how forms end: one without its last boundary is an error, never
 * a file that is shorter, and a part that nobody reads holds nothing up. The boundary stands nowhere in
 * a part's bytes (RFC 2046 §5.1.1), so finding it is all there is to cutting.
 */
import { boundaryOf as readBoundary, readPartHeaders } from '@shoal/chassis';
import { RpcError } from './rpc-error.ts';

/** Kubo's command line writes two paths, escaped, of up to 4 KiB each. */
const HEADERS_MAX_BYTES = 32 * 1024;
const HEADERS_MAX = 32;
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
  const boundary = readBoundary(contentType);
  if (boundary === undefined)
    throw new RpcError(400, 'the body must be a form (multipart/form-data with a boundary)');
  return boundary;
}

/** The parts of a form. @throws RpcError when it is not one, or ends before its last boundary. */
export async function* readForm(
  source: AsyncIterable<Uint8Array>,
  boundary: string,
): AsyncGenerator<FormPart, void, undefined> {
  const delimiter = Buffer.from(`${LINE_END}--${boundary}`);
  const mark = `--${boundary}`;
  const input = openInput(source);
  input.putBack(LINE_END); // the first boundary has no line before it
  const before = await input.readPast(
    delimiter,
    PADDING_MAX_BYTES,
    'it does not begin with its boundary',
  );
  if (before.includes(mark)) throw malformed('its first boundary is not at the start of a line');
  for (let part = 1; ; part += 1) {
    const next = await input.take(2);
    if (next === '--') return refuseMore(input.rest(), mark);
    input.putBack(next);
    const padding = await input.readPast(LINE_END, PADDING_MAX_BYTES, 'a boundary goes on');
    if (padding.trim() !== '') throw malformed('a boundary goes on');
    input.putBack(LINE_END); // a part without headers begins with the empty line
    const text = await input.readPast(
      LINE_END + LINE_END,
      HEADERS_MAX_BYTES,
      'the headers of a part do not end',
    );
    const headers = readHeaders(text, { part, delimiter: delimiter.toString() });
    input.putBack(LINE_END); // the empty line may be the one before the next boundary too
    const body = input.readUntil(delimiter, LINE_END.length);
    yield { ...headers, body };
    // What the reader left; nothing when it read all.
    for await (const _ of body);
  }
}

/** What a part says of itself. @throws RpcError when that can't be read: the part would be left out. */
function readHeaders(
  text: string,
  { part, delimiter }: { readonly part: number; readonly delimiter: string },
): Omit<FormPart, 'body'> {
  if (text.includes(delimiter)) throw malformed(`part ${part}: it ends within its headers`);
  const lines = text.startsWith(LINE_END) ? text.slice(LINE_END.length) : text;
  const headers = readPartHeaders(lines, { headersMax: HEADERS_MAX });
  if ('fault' in headers) throw malformed(`part ${part}: ${headers.fault}`);
  const { name = '', fileName = '', contentType } = headers;
  return { name, fileName, contentType };
}

/** Reads what stands behind the last boundary: text means nothing (RFC 2046 §5.1.1), another part would be lost. */
async function refuseMore(rest: AsyncIterable<Uint8Array>, mark: string): Promise<void> {
  let tail = '';
  for await (const bytes of rest) {
    const text = tail + Buffer.from(bytes).toString('latin1');
    if (text.includes(mark)) throw malformed('it goes on behind its last boundary');
    tail = text.slice(1 - mark.length);
  }
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
    /** All that is left. */
    async *rest(): AsyncGenerator<Uint8Array, void, undefined> {
      if (held.length > 0) yield advance(held.length);
      for (let next; (next = await iterator.next()).done !== true;) yield next.value;
    },
    async take(count: number): Promise<string> {
      while (held.length < count) await more();
      return advance(count).toString('latin1');
    },
    putBack(text: string): void {
      held = Buffer.concat([Buffer.from(text, 'latin1'), held]);
    },
    /**
     * Bytes up to the delimiter, which is taken away, but for the first ones when they are not its
     * beginning. Leaving a loop over them ends nothing: the rest comes with the next loop.
     */
    readUntil(delimiter: Buffer, skippedBytes: number): AsyncIterable<Uint8Array> {
      let isOver = false;
      let isBegun = false;
      const begin = async (): Promise<void> => {
        isBegun = true;
        while (held.length < delimiter.length) await more();
        if (!held.subarray(0, delimiter.length).equals(delimiter)) advance(skippedBytes);
      };
      const next = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
        if (!isBegun) await begin();
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
