/**
 * Reads along with the parser of forms, to know what it leaves out. The parser passes over a part whose
 * headers it can't read, whose name has a bare line break, that is no form data, or that has no body
 * (fastify-busboy, lib/types/multipart.js and dicer), and says nothing; what follows the last
 * boundary it never sees. Here parts are only found and counted, so that none is dropped silently. And headers
 * must be UTF-8: the parser puts U+FFFD for bytes that are none, so a file would be kept under another name.
 */
import { boundaryOf } from '@shoal/chassis';
import { NOT_UTF8, readPartHeaders } from './part-headers.ts';

/** Bytes before the first boundary: there is no use for any. */
const PREAMBLE_MAX_BYTES = 1024;
const LINE_END = '\r\n';
const HEADERS_END = LINE_END + LINE_END;
/** Keeps a byte order mark, which is part of a name. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

type State = 'preamble' | 'boundary' | 'headers' | 'headers-end' | 'body' | 'epilogue';

export interface FormCheck {
  /** Parts that began. */
  readonly parts: number;
  /** Whether what is wrong is the name of a file. */
  readonly isNameFault: boolean;
  /** Takes the next bytes of the body; answers what is wrong with the form, once. */
  push(bytes: Uint8Array): string | undefined;
}

/** A fault of the content type is reported at the first push. */
export function createFormCheck(
  contentType: string | undefined,
  limits: { readonly headersMax: number; readonly headersMaxBytes: number },
): FormCheck {
  const boundary = boundaryOf(contentType);
  const mark = Buffer.from(`--${boundary ?? ''}`);
  const delimiter = Buffer.concat([Buffer.from(LINE_END), mark]);
  let held: Buffer = Buffer.from(LINE_END); // the first boundary has no line before it
  let state: State = 'preamble';
  let parts = 0;
  let isFaulty = false;
  let isNameFault = false;

  const skip = (count: number): void => {
    held = held.subarray(count);
  };
  const inPart = (fault: string): string => `part ${parts}: ${fault}`;
  const readHeaders = (bytes: Buffer): string | undefined => {
    if (bytes.length === 0) return inPart('it has no headers, so nothing says what it is');
    const text = textOf(bytes);
    if (text === undefined) {
      isNameFault = /filename/i.test(bytes.toString('latin1'));
      return inPart(isNameFault ? NOT_UTF8 : 'its headers are not valid UTF-8');
    }
    if (!text.startsWith(LINE_END)) return inPart('its boundary goes on');
    const headers = readPartHeaders(text.slice(LINE_END.length), limits);
    if ('fault' in headers) {
      isNameFault = headers.fault === NOT_UTF8;
      return inPart(headers.fault);
    }
    if (headers.disposition === undefined) return inPart('it has no Content-Disposition');
    if (headers.disposition !== 'form-data')
      return inPart('its Content-Disposition is not form-data');
    return headers.name === undefined ? inPart('its field has no name') : undefined;
  };
  /** One step in what is held: a fault, or whether there may be another step. */
  const step = (): string | boolean => {
    switch (state) {
      case 'preamble': {
        const at = held.indexOf(delimiter);
        const before = at < 0 ? held : held.subarray(0, at);
        if (before.length > PREAMBLE_MAX_BYTES) return 'it does not begin with its boundary';
        if (at < 0) return false;
        if (before.includes(mark)) return 'its first boundary is not at the start of a line';
        skip(at + delimiter.length);
        state = 'boundary';
        return true;
      }
      case 'boundary':
        if (held.length < 2) return false;
        state = held.subarray(0, 2).toString('latin1') === '--' ? 'epilogue' : 'headers';
        if (state === 'headers') parts += 1;
        return true;
      case 'headers': {
        const end = held.indexOf(HEADERS_END);
        const next = held.indexOf(delimiter);
        if (next >= 0 && (end < 0 || next < end)) return inPart('it ends within its headers');
        if ((end < 0 ? held.length : end) > limits.headersMaxBytes)
          return inPart(`its headers are longer than ${limits.headersMaxBytes} bytes`);
        if (end < 0) return false;
        const fault = readHeaders(held.subarray(0, end));
        skip(end + LINE_END.length);
        state = 'headers-end';
        return fault ?? true;
      }
      case 'headers-end':
        // The empty line may not be the one before the next boundary too.
        if (held.length < delimiter.length) return false;
        if (held.indexOf(delimiter) === 0) return inPart('it ends within its headers');
        skip(LINE_END.length);
        state = 'body';
        return true;
      case 'body': {
        const at = held.indexOf(delimiter);
        if (at < 0) {
          skip(startOfMaybe(held, delimiter));
          return false;
        }
        skip(at + delimiter.length);
        state = 'boundary';
        return true;
      }
      case 'epilogue':
        if (held.includes(mark)) return 'it goes on behind its last boundary';
        skip(Math.max(0, held.length - mark.length + 1));
        return false;
    }
  };
  return {
    get parts() {
      return parts;
    },
    get isNameFault() {
      return isNameFault;
    },
    push(bytes) {
      if (isFaulty) return undefined;
      held = held.length === 0 ? Buffer.from(bytes) : Buffer.concat([held, bytes]);
      let outcome: string | boolean =
        boundary === undefined
          ? 'its content type states no boundary of at most 70 characters'
          : true;
      while (outcome === true) outcome = step();
      if (outcome === false) return undefined;
      isFaulty = true;
      held = Buffer.alloc(0);
      return outcome;
    },
  };
}

function textOf(bytes: Buffer): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Where a delimiter may begin whose end has not come yet. */
function startOfMaybe(bytes: Buffer, delimiter: Buffer): number {
  const from = Math.max(0, bytes.length - delimiter.length + 1);
  const at = bytes.indexOf('\r', from);
  return at < 0 ? bytes.length : at;
}
