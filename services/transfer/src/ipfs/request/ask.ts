/** One request below `/ipfs/`, understood: what every way of answering it is given. */
import type { ResolvedPath } from '@shoal/blocks';
import type { Call } from '@shoal/chassis';
import type { Pin, transferRoutes } from '@shoal/protocol';
import type { BlockReader } from '../../fetch/any-blocks.ts';
import type { IpfsPath } from './path.ts';
import type { SendOutcome } from '../../answer/send-body.ts';

type GetIpfs = typeof transferRoutes.getIpfs;
export type IpfsCall = Call<GetIpfs['params'], GetIpfs['query'], undefined>;

export interface IpfsAsk {
  readonly call: IpfsCall;
  readonly path: IpfsPath;
  /** What the path leads to. */
  readonly resolved: ResolvedPath;
  readonly reader: BlockReader;
  /** The live pin of what the path leads to; undefined without one, or when blocks were asked for. */
  readonly pin: Pin | undefined;
}

/** How it went, once the answer began; what fails before that is thrown. */
export type IpfsOutcome = SendOutcome | 'not-modified';

/** What `/metrics` tells apart. */
export type IpfsKind = 'file' | 'directory' | 'raw' | 'car' | 'tar';

export interface Answered {
  readonly kind: IpfsKind;
  readonly outcome: IpfsOutcome;
}

/** Answers without a body: 304, and whatever HEAD asks for. */
export function answerHead(
  { reply }: IpfsCall,
  status: number,
  headers: Readonly<Record<string, string | number>>,
): void {
  reply.hijack();
  reply.raw.writeHead(status, headers).end();
}
