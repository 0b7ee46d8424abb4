/** `add`: what the chunker says of each file and directory of the form, in Kubo's words. */
import { chunkerRoutes, KuboAddEvent, routePath } from '@shoal/protocol';
import type { RpcCommand } from './rpc/call.ts';
import { handOver } from './rpc/hand-over.ts';
import { ALWAYS, holdTo, holdToSpelling, NEVER, type Rules, UNKNOWN } from './rpc/options.ts';
import { openOutput } from './rpc/output.ts';

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
  const path = routePath(chunkerRoutes.addKuboForm.path, {}, { wrap, progress });
  for await (const event of handOver(call, path, KuboAddEvent, 'argument "path": a file')) {
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
