/** Calls of the Kubo RPC, before stand-in services that answer as the contract says. */
import type { IncomingMessage, RequestListener } from 'node:http';
import type { Readable } from 'node:stream';
import { hashBlock } from '@shoal/blocks';
import { type Problem, PROBLEM_TYPE } from '@shoal/protocol';
import { request } from 'undici';
import { openGateway } from './support.ts';

export const TOKEN = 'a-token-of-this-peer';
export const BEARER = { authorization: `Bearer ${TOKEN}` };
const SHA256 = 'ab'.repeat(32);
export const cidOf = (text: string) => hashBlock('raw', Buffer.from(text));
export const ROOT = cidOf('root');

export interface Asked {
  readonly line: string;
  readonly type: string | undefined;
  readonly authorization: string | undefined;
  readonly body: Buffer;
}

export const entryOf = (cid: string, name: string, sizeBytes: number) => ({
  cid,
  kind: 'file',
  name,
  sizeBytes,
  sha256: SHA256,
  blocks: 1,
  replicas: 3,
  copies: 2,
  createdAtMs: 1,
  state: 'safe',
  url: `/files/${cid}`,
});

/** A service that notes what it was asked, and answers JSON, a problem, or a text as it is. */
export function service(asked: Asked[], answer: (ask: Asked) => unknown): RequestListener {
  return (incoming, outgoing) => {
    void readBody(incoming).then((body) => {
      const { authorization, 'content-type': type } = incoming.headers;
      const ask = { line: `${incoming.method} ${incoming.url}`, type, authorization, body };
      asked.push(ask);
      const value = answer(ask) as Problem | string | undefined;
      const status = typeof value === 'object' ? (value.status ?? 200) : 200;
      const isProblem = typeof status === 'number' && status >= 400;
      outgoing.writeHead(isProblem ? status : 200, {
        'content-type': isProblem ? PROBLEM_TYPE : 'application/json',
      });
      outgoing.end(
        typeof value === 'string'
          ? value
          : JSON.stringify(
              isProblem && value !== undefined ? value.toBody('urn:request:1') : value,
            ),
      );
    });
  };
}

async function readBody(incoming: IncomingMessage): Promise<Buffer> {
  return Buffer.concat((await incoming.toArray()) as Buffer[]);
}

export const open = (listeners: Parameters<typeof openGateway>[0] = {}, settings = {}) =>
  openGateway(listeners, { WRITE_TOKEN: TOKEN, ...settings });

export async function rpc(
  origin: string,
  command: string,
  options: { body?: Buffer | Readable; headers?: Record<string, string> } = {},
) {
  const { body, headers = {} } = options;
  const answer = await request(`${origin}/api/v0/${command}`, {
    method: 'POST',
    headers: { ...BEARER, ...(body === undefined ? {} : FORM), ...headers },
    ...(body === undefined ? {} : { body }),
  });
  const text = await answer.body.text();
  return { status: answer.statusCode, headers: answer.headers, text };
}

const FORM = { 'content-type': 'multipart/form-data; boundary=b' };
export const part = (
  fileName: string,
  body: string | Buffer,
  type = 'application/octet-stream',
  /** Of the field, and where the file is at its sender, as Kubo's command line says them. */
  { name = 'file', path }: { readonly name?: string; readonly path?: string } = {},
) =>
  Buffer.concat([
    Buffer.from(
      `--b\r\n${path === undefined ? '' : `Abspath-Encoded: ${path}\r\n`}Content-Disposition: form-data; name="${name}"; filename="${fileName}"\r\nContent-Type: ${type}\r\n\r\n`,
    ),
    Buffer.from(body),
    Buffer.from('\r\n'),
  ]);
export const form = (...parts: Buffer[]) => Buffer.concat([...parts, Buffer.from('--b--\r\n')]);
export const lines = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
