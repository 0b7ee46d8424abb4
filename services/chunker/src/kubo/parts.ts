/** The parts of a form as Kubo's clients write them: each a file, a directory or a symlink, with a path for a name. */
import assert from 'node:assert/strict';
import { MiB, RequestInvalid } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import type { Stop } from '../request/take-request.ts';
import { type FormPart, formParts, kindOf } from '../request/form-files.ts';

/** Bytes between two lines of progress. */
const PROGRESS_BYTES = MiB;

/** A part whose name was read. Modes and times in its field are what the client says of every file, unasked. */
export interface NamedPart {
  /** Decoded, without slashes around it; empty when the sender gave none. */
  readonly path: string;
  readonly names: readonly string[];
  readonly contentType: string;
  readonly body: FormPart['body'];
}

export interface Parts extends AsyncDisposable {
  /** The part that comes next; what was taken before must have been read. */
  peek(): Promise<NamedPart | undefined>;
  /** The part that was looked at. */
  take(): NamedPart;
}

export type OnBytes = (path: string, sizeBytes: number) => void;

/** The form's parts, of which the next can be looked at before it is taken. */
export function openParts(
  request: FastifyRequest,
  filesMax: number,
  onBytes: OnBytes | undefined,
  stop: Stop,
): Parts {
  const parts = everyPart(request, filesMax, stop);
  let seen: NamedPart | undefined;
  return {
    async peek() {
      if (seen !== undefined) return seen;
      const next = await parts.next();
      seen = next.done === true ? undefined : readPart(next.value, onBytes);
      return seen;
    },
    take() {
      assert(seen !== undefined, 'a part is looked at before it is taken');
      const taken = seen;
      seen = undefined;
      return taken;
    },
    async [Symbol.asyncDispose]() {
      await parts.return(undefined);
    },
  };
}

/** Every part of the form, of any field; each must be read to its end before the next comes. */
export function everyPart(
  request: FastifyRequest,
  filesMax: number,
  stop: Stop,
): AsyncGenerator<FormPart> {
  return formParts(request, {
    filesMax,
    isFileField: () => true,
    isEveryPartAFile: true,
    ...stop,
  });
}

/** Whether a part is a file by itself, in no directory. */
export const isPlainFile = ({ names, contentType }: NamedPart): boolean =>
  names.length < 2 && kindOf(contentType) !== 'directory';

/** @throws RequestInvalid */
function readPart({ part, body }: FormPart, onBytes: OnBytes | undefined): NamedPart {
  const { filename = '', mimetype: contentType } = part as { filename?: string; mimetype: string };
  const names = decoded(filename)
    .split('/')
    .filter((name) => name !== '');
  const path = names.join('/');
  if (kindOf(contentType) === 'symlink' && names.length < 2)
    throw new RequestInvalid({ reason: 'a symlink can only be added inside of a directory' });
  return {
    path,
    names,
    contentType,
    body:
      onBytes === undefined
        ? body
        : (options) => counted(body(options), (sumBytes) => onBytes(path, sumBytes)),
  };
}

/** As Go's clients write names: a space may be a plus. Names that are not encoded are taken as they are. */
function decoded(fileName: string): string {
  try {
    return decodeURIComponent(fileName.replaceAll('+', ' '));
  } catch {
    return fileName;
  }
}

async function* counted(
  body: AsyncIterable<Uint8Array>,
  onBytes: (sumBytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sumBytes = 0;
  let saidBytes = 0;
  for await (const bytes of body) {
    yield bytes;
    sumBytes += bytes.length;
    if (sumBytes - saidBytes < PROGRESS_BYTES) continue;
    saidBytes = sumBytes;
    onBytes(sumBytes);
  }
  if (sumBytes > saidBytes) onBytes(sumBytes);
}
