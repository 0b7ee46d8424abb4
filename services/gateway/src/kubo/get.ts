/** `get`: a file or directory as a TAR, which Kubo's command line unpacks; or gzipped, as its options say. */
import { pipeline } from 'node:stream';
import { createGzip } from 'node:zlib';
import { ask, onlyArg, type RpcCommand } from './rpc/call.ts';
import type { Options } from './rpc/options.ts';
import { openOutput } from './rpc/output.ts';
import { gatewayPath, readIpfsPath } from './rpc/paths.ts';
import { failureOf, misused, RpcError } from './rpc/rpc-error.ts';

const TAR_TYPE = 'application/x-tar';
const GZIP_TYPE = 'application/gzip';
const BEST_LEVEL = 9;
/** That of gzip itself. */
const LEVEL_USUAL = 6;
/** Only the bytes of a file can be gzipped without being packed. */
const NO_FILE = 'file is not regular';

export const get: RpcCommand = async (call) => {
  const { options, reply, signal } = call;
  const level = levelOf(options);
  const isArchive = options.flag('archive', false);
  const isPacked = level === undefined || isArchive;
  const path = readIpfsPath(await onlyArg(call, 'ipfs-path'));
  const answer = await ask(call, gatewayPath(path, isPacked ? 'format=tar' : ''));
  const { statusCode: status, headers, body } = answer;
  if (status >= 400) throw await failureOf(answer);
  if (status >= 300 || headers['content-type'] === 'inode/symlink') {
    await body.dump();
    throw new RpcError(500, NO_FILE);
  }
  const type = level === undefined ? TAR_TYPE : GZIP_TYPE;
  const output = openOutput(reply, { kind: 'stream', type }, { signal });
  const bytes: AsyncIterable<Uint8Array> =
    level === undefined ? body : pipeline(body, createGzip({ level }), () => {});
  for await (const piece of bytes) await output.write(piece);
  output.end();
};

/** Undefined for what is not gzipped. @throws RpcError */
function levelOf(options: Options): number | undefined {
  if (!options.flag('compress', false)) return undefined;
  const level = options.count('compression-level') ?? LEVEL_USUAL;
  if (level < 1 || level > BEST_LEVEL) throw misused('compression level must be between 1 and 9');
  return level;
}
