/** `cat`, `block/get`, `block/stat` and `dag/export`: what the gateway has, without being changed. */
import type { Dispatcher } from 'undici';
import { ask, cachePolicy, onlyArg, type RpcCall, type RpcCommand, someArgs } from './rpc/call.ts';
import { openOutput, type Output } from './rpc/output.ts';
import { gatewayPath, readIpfsPath, resolveCid } from './rpc/paths.ts';
import { failureOf, misused, RpcError } from './rpc/rpc-error.ts';

const BYTES_TYPE = 'application/octet-stream';

/** The bytes of files, one after the other. */
export const cat: RpcCommand = async (call) => {
  const { options, reply, signal } = call;
  const args = await someArgs(call, 'ipfs-path');
  const isForNothing = options.count('length') === 0;
  const range = rangeOf(call);
  if (range !== undefined && args.length > 1) throw misused('a range is for a single path');
  const output = openOutput(reply, { kind: 'stream', type: BYTES_TYPE }, { signal });
  for (const arg of isForNothing ? [] : args) {
    const path = readIpfsPath(arg);
    const headers = range === undefined ? {} : { range };
    const answer = await ask(call, gatewayPath(path), headers);
    const { statusCode: status } = answer;
    if (status === 416) await answer.body.dump(); // behind the end there is nothing
    else if (status >= 300 && status < 400) {
      await answer.body.dump();
      throw new RpcError(500, 'this dag node is a directory');
    } else if (status >= 400) throw await failureOf(answer);
    else await pipe(answer, output);
  }
  output.end();
};

/** The bytes of a block. */
export const blockGet: RpcCommand = async (call) => {
  const arg = await onlyArg(call, 'cid');
  const { cid, names } = readIpfsPath(arg);
  const name = names.length === 0 ? cid : (await resolveCid(call, arg)).cid;
  await pipeFrom(call, gatewayPath({ cid: name, names: [] }, 'format=raw'), BYTES_TYPE);
};

/** A block's name and size. */
export const blockStat: RpcCommand = async (call) => {
  const { options, upstream, signal } = call;
  const { cid, answered } = await resolveCid(call, await onlyArg(call, 'cid'));
  const path = gatewayPath({ cid, names: [] }, 'format=raw');
  const headers = cachePolicy(options);
  const answer = await upstream.ask('transfer', { method: 'HEAD', path, headers }, { signal });
  await answer.body.dump();
  if (answer.statusCode >= 300) throw new RpcError(500, `block ${cid} was not found in the swarm`);
  return { Key: answered, Size: Number(answer.headers['content-length']) };
};

/** The whole DAG of a root as a CAR. */
export const dagExport: RpcCommand = async (call) => {
  // As it is spelled: the name of the root is part of the CAR.
  const { answered: cid } = await resolveCid(call, await onlyArg(call, 'root'));
  await pipeFrom(call, gatewayPath({ cid, names: [] }, 'format=car'), 'application/vnd.ipld.car');
};

async function pipeFrom(call: RpcCall, path: string, type: string): Promise<void> {
  const { reply, signal } = call;
  const answer = await ask(call, path);
  if (answer.statusCode >= 300) throw await failureOf(answer);
  const output = openOutput(reply, { kind: 'stream', type }, { signal });
  await pipe(answer, output);
  output.end();
}

async function pipe({ body }: Dispatcher.ResponseData, output: Output): Promise<void> {
  for await (const bytes of body as AsyncIterable<Uint8Array>) await output.write(bytes);
}

/** `offset` and `length` as a Range; undefined for the whole. */
function rangeOf({ options }: RpcCall): string | undefined {
  const offset = options.count('offset') ?? 0;
  const length = options.count('length');
  if (offset === 0 && length === undefined) return undefined;
  return `bytes=${offset}-${length === undefined ? '' : offset + length - 1}`;
}
