/**
 * `add`: the form goes to the chunker as it comes, which alone cuts it, and says what it makes of it (a file
 * or a directory each) while it does. Here that is put into Kubo's words.
 */
import {
  chunkerRoutes,
  FileMissing,
  KuboAddEvent,
  routePath,
  ServiceUnavailable,
} from '@shoal/protocol';
import type { Dispatcher } from 'undici';
import { neverSilent, type RpcCall, type RpcCommand } from './rpc/call.ts';
import { ALWAYS, holdTo, holdToSpelling, NEVER, type Rules, UNKNOWN } from './rpc/options.ts';
import { openOutput } from './rpc/output.ts';
import { boundaryOf } from './rpc/read-form.ts';
import { failureOf, misused, RpcError } from './rpc/rpc-error.ts';

/**
 * Options that would give another CID than the one they ask for; unset, they ask for nothing. Kubo's
 * command line names the mode and time of every file in its part, wanted or not: only these ask for them.
 */
const RULES: Rules = {
  'cid-version': /^1$/,
  'raw-leaves': ALWAYS,
  chunker: /^size-1048576$/,
  hash: /^sha2-256$/,
  'max-file-links': /^1024$/,
  'max-hamt-fanout': /^256$/,
  'max-directory-links': /^0$/,
  'empty-dirs': ALWAYS,
  trickle: NEVER,
  inline: NEVER,
  'preserve-mode': NEVER,
  'preserve-mtime': NEVER,
  mode: UNKNOWN,
  mtime: UNKNOWN,
  'mtime-nsecs': UNKNOWN,
};
const PROFILE =
  'files are built by the profile unixfs-v1-2025 (cid-version=1, raw-leaves, chunker=size-1048576, max-file-links=1024), without mode and mtime';
/** Options that ask for something else to be done with it. */
const MANNERS: Rules = {
  'only-hash': NEVER,
  nocopy: NEVER,
  pin: ALWAYS,
  'pin-name': UNKNOWN,
  'to-files': UNKNOWN,
};
const KEPT = 'what is added is stored, and pinned under its own name; pin/rm ends that';

export const add: RpcCommand = async (call) => {
  const { options, reply, signal } = call;
  holdTo(RULES, options, PROFILE);
  holdTo(MANNERS, options, KEPT);
  holdToSpelling(options);
  const output = openOutput(reply, { kind: 'values', type: 'application/json' }, { signal });
  const isSilent = options.flag('silent', false);
  const wrap = options.flag('wrap-with-directory', false);
  const progress = options.flag('progress', false) && !isSilent;
  for await (const event of addForm(call, { wrap, progress })) {
    if ('failed' in event) throw new RpcError(500, event.failed.detail);
    if (isSilent) continue;
    if ('received' in event) {
      const { path, sizeBytes } = event.received;
      output.hint({ Name: path, Bytes: sizeBytes });
    } else {
      const { path, cid, treeSizeBytes } = event.added;
      await output.line({ Name: namedAs(path, cid, wrap), Hash: cid, Size: String(treeSizeBytes) });
    }
  }
  output.end();
};

/** A file without a name is called by its CID; a directory around everything has none. */
const namedAs = (path: string, cid: string, isWrapped: boolean): string =>
  path === '' && !isWrapped ? cid : path;

/** Hands the form on as it comes; what the chunker says of it. @throws RpcError */
async function* addForm(
  { upstream, prove, contentType, body, bodyIdleTimeoutMs, signal }: RpcCall,
  query: { readonly wrap: boolean; readonly progress: boolean },
): AsyncGenerator<KuboAddEvent, void, undefined> {
  boundaryOf(contentType);
  const method = 'POST' as const;
  const path = routePath(chunkerRoutes.addKuboForm.path, {}, query);
  const form = watched(neverSilent(body, bodyIdleTimeoutMs));
  const headers = { 'content-type': contentType ?? '', ...prove({ method, path }) };
  const request = { method, path, headers, body: form.bytes };
  const answer = await upstream.ask('chunker', request, { signal });
  if (answer.statusCode >= 300) throw await refusalOf(answer);
  try {
    for await (const line of linesOf(answer.body)) yield KuboAddEvent.parse(JSON.parse(line));
  } catch (cause) {
    signal.throwIfAborted();
    const fault = form.fault();
    if (fault instanceof Error) throw fault;
    throw new ServiceUnavailable({ service: 'chunker' }, { cause });
  }
}

/** What was wrong with the form, or with a name in it, as Kubo says it; else a failure. */
async function refusalOf(answer: Dispatcher.ResponseData): Promise<RpcError> {
  const failure = await failureOf(answer);
  if (answer.statusCode !== 400) return failure;
  return failure.problem === FileMissing.type
    ? misused('argument "path" is required: a file in the form')
    : misused(failure.message);
}

/** The lines of a body, without those that are empty. */
async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let held = '';
  for await (const bytes of body) {
    const lines = (held + decoder.decode(bytes, { stream: true })).split('\n');
    held = lines.pop() ?? '';
    for (const line of lines) if (line !== '') yield line;
  }
}

/** A body that remembers what it failed with: that is more telling than the request that it broke. */
function watched(source: AsyncIterable<Uint8Array>) {
  let fault: unknown;
  const bytes = async function* () {
    try {
      yield* source;
    } catch (error) {
      fault = error;
      throw error;
    }
  };
  return { bytes: bytes(), fault: () => fault };
}
