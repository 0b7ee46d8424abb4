/**
 * Kubo's command line with `--api` and `--api-auth`, as its sources have it (`cmd/ipfs`, `core/commands`
 * of Kubo 0.43; `go-ipfs-cmds/http`; `boxo/files` and `boxo/tar`): what it asks before each command, the
 * defaults that it states with every call, how it writes files into a form, what it reads of answers, and
 * what it refuses to unpack.
 */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { basename, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { randomBytes } from 'node:crypto';

type Values = Readonly<Record<string, string | number | boolean>>;

/** What a command states when nobody says otherwise; others state nothing. */
const DEFAULTS: Readonly<Record<string, Values>> = {
  add: { pin: true, 'inline-limit': 32, 'empty-dirs': true, progress: true },
  cat: { progress: true },
  get: { progress: true },
  ls: { 'resolve-type': true, size: true },
  'block/put': { 'cid-codec': 'raw', mhlen: -1, pin: false, 'allow-big-block': false },
  'dag/import': { 'pin-roots': true, 'allow-big-block': false },
  'pin/add': { recursive: true },
  'pin/rm': { recursive: true },
  'pin/ls': { type: 'all' },
  id: { 'peerid-base': 'b58mh' },
};
/** From this version on, the path of a file is escaped in its header. */
const ESCAPED_PATHS_SINCE = [0, 23];
/** Go's `os.FileMode` has the kind of a file up here. */
const GO_DIRECTORY = 2 ** 31;
const GO_SYMLINK = 2 ** 27;

export interface Call {
  readonly args?: readonly string[];
  /** Options as they are named on the command line. */
  readonly options?: Values;
  /** Files and folders that go into the form. */
  readonly paths?: readonly string[];
  /** Bytes of its standard input: a file of the form, or arguments. */
  readonly stdin?: Uint8Array;
}

/** A failure as it is shown to people. */
export class KuboError extends Error {}

export interface KuboCli {
  /** Values of an answer that is JSON. @throws KuboError */
  values(command: string, call?: Call): Promise<Record<string, unknown>[]>;
  /** Bytes of an answer that is a stream. @throws KuboError */
  bytes(command: string, call?: Call): Promise<Buffer>;
}

export function createKuboCli(origin: string, token: string): KuboCli {
  const send = async (command: string, call: Call): Promise<IncomingMessage> => {
    const { Version } = (await jsonOf(await post('version', {}, { isEscaped: true })))[0] ?? {};
    const isEscaped = !isOlder(readVersion(String(Version)), ESCAPED_PATHS_SINCE);
    return post(command, call, { isEscaped });
  };
  const post = async (
    command: string,
    { args = [], options = {}, paths = [], stdin }: Call,
    { isEscaped }: { readonly isEscaped: boolean },
  ): Promise<IncomingMessage> => {
    const boundary = randomBytes(30).toString('hex');
    const isForm = paths.length > 0 || stdin !== undefined;
    const sent = request(`${origin}/api/v0/${command}?${queryOf(command, args, options)}`, {
      method: 'POST',
      agent: false,
      headers: {
        'User-Agent': 'go-ipfs-cmds/http',
        'Content-Type': isForm
          ? `multipart/form-data; boundary=${boundary}`
          : 'application/octet-stream',
        'Accept-Encoding': 'gzip',
        Authorization: `Bearer ${token}`,
        Connection: 'close',
      },
    });
    const answered = once(sent, 'response') as Promise<[IncomingMessage]>;
    if (isForm) Readable.from(formOf({ paths, stdin }, { boundary, isEscaped })).pipe(sent);
    else sent.end();
    const [answer] = await answered;
    if ((answer.statusCode ?? 0) >= 400) throw await failureOf(answer);
    return answer;
  };
  return {
    async values(command, call = {}) {
      return jsonOf(await send(command, call));
    },
    async bytes(command, call = {}) {
      const answer = await send(command, call);
      if (answer.headers['content-type'] === 'application/json')
        throw new KuboError('a stream that says it is JSON is decoded as such');
      return read(answer);
    },
  };
}

/** `url.Values.Encode`: keys in order. What a person states beats a default. */
function queryOf(command: string, args: readonly string[], options: Values): string {
  const stated = { ...DEFAULTS[command], ...options, encoding: 'json', 'stream-channels': true };
  const query = new URLSearchParams(args.map((arg): [string, string] => ['arg', arg]));
  for (const [name, value] of Object.entries(stated)) query.append(name, String(value));
  query.sort();
  return query.toString();
}

/** `url.QueryEscape`. */
const escaped = (text: string): string =>
  new URLSearchParams([['', text]])
    .toString()
    .slice(1)
    .replaceAll('*', '%2A')
    .replaceAll('%7E', '~');

/** The parts as `MultiFileReader` writes them, of folders all that does not begin with a dot. */
async function* formOf(
  { paths, stdin }: { readonly paths: readonly string[]; readonly stdin: Uint8Array | undefined },
  form: { readonly boundary: string; readonly isEscaped: boolean },
): AsyncGenerator<Uint8Array, void> {
  let isFirst = true;
  const head = (name: string, type: string, path: string, field: string): Buffer => {
    // Headers come in the order of their names.
    const where = form.isEscaped ? `Abspath-Encoded: ${escaped(path)}` : `Abspath: ${path}`;
    const lines = [
      `${isFirst ? '' : '\r\n'}--${form.boundary}`,
      ...(path === '' ? [] : [where]),
      `Content-Disposition: form-data; name="${field}"; filename="${escaped(name)}"`,
      `Content-Type: ${type}`,
    ];
    isFirst = false;
    return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
  };
  const part = async function* (path: string, name: string): AsyncGenerator<Uint8Array, void> {
    const stats = await lstat(path, { bigint: true });
    const nsecs = Number(stats.mtimeNs % 1_000_000_000n);
    const kind = stats.isDirectory() ? GO_DIRECTORY : stats.isSymbolicLink() ? GO_SYMLINK : 0;
    const mode = kind + (Number(stats.mode) & 0o777);
    const field = `file?mode=0${mode.toString(8)}&mtime=${stats.mtimeNs / 1_000_000_000n}${nsecs > 0 ? `&mtime-nsecs=${nsecs}` : ''}`;
    if (stats.isSymbolicLink()) {
      yield head(name, 'application/symlink', '', field);
      yield Buffer.from(await readlink(path));
    } else if (stats.isDirectory()) {
      yield head(name, 'application/x-directory', '', field);
      const names = (await readdir(path)).filter((one) => !one.startsWith('.')).toSorted();
      for (const below of names) yield* part(join(path, below), `${name}/${below}`);
    } else {
      yield head(name, 'application/octet-stream', resolve(path), field);
      yield* createReadStream(path) as AsyncIterable<Buffer>;
    }
  };
  for (const path of paths) yield* part(path, basename(path));
  if (stdin !== undefined) {
    yield head('stdin', 'application/octet-stream', '', 'file');
    yield stdin;
  }
  yield Buffer.from(`\r\n--${form.boundary}--\r\n`);
}

async function jsonOf(answer: IncomingMessage): Promise<Record<string, unknown>[]> {
  const type = answer.headers['content-type']?.split(';')[0];
  if (type !== 'application/json') throw new KuboError(`unknown content type: ${type}`);
  const lines = (await read(answer)).toString().split('\n');
  return lines
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function failureOf(answer: IncomingMessage): Promise<KuboError> {
  const text = (await read(answer)).toString();
  if (answer.statusCode === 404) return new KuboError('command not found');
  const type = answer.headers['content-type']?.split(';')[0];
  if (type === 'text/plain') return new KuboError(text);
  if (type !== 'application/json') return new KuboError(`unknown error content type: ${type}`);
  const { Message, Type } = JSON.parse(text) as Record<string, unknown>;
  return new KuboError(Type === 'error' ? String(Message) : 'not an error');
}

/** @throws KuboError for what breaks off, or says so in the trailer. */
async function read(answer: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of answer as AsyncIterable<Buffer>) pieces.push(piece);
  } catch {
    throw new KuboError('unexpected EOF');
  }
  const trailer = answer.trailers['x-stream-error'];
  if (trailer !== undefined) throw new KuboError(trailer);
  return Buffer.concat(pieces);
}

function readVersion(text: string): number[] {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(text); // semver.New wants all three
  if (match === null) throw new KuboError(`no version: ${text}`);
  return match.slice(1).map(Number);
}

const isOlder = ([major = 0, minor = 0]: number[], [sinceMajor = 0, sinceMinor = 0]: number[]) =>
  major < sinceMajor || (major === sinceMajor && minor < sinceMinor);
