/** What `ipfs get` makes of a TAR: the rules of `boxo/tar`, on what `archive/tar` reads. */

const RECORD_BYTES = 512;
const TYPES: Readonly<Record<string, Untarred['kind']>> = {
  '0': 'file',
  '2': 'symlink',
  '5': 'directory',
};

export interface Untarred {
  readonly kind: 'file' | 'symlink' | 'directory';
  /** Below where it is unpacked to; empty of the root. */
  readonly path: string;
  /** Of a file its bytes, of a symlink where it leads. */
  readonly bytes: Buffer;
  readonly mode: number;
}

/** @throws Error as the command line would fail. */
export function untarAsKubo(tar: Buffer): { readonly root: string; readonly entries: Untarred[] } {
  const entries: Untarred[] = [];
  let root: string | undefined;
  for (const { name, type, bytes, linkTo, mode } of readTar(tar)) {
    const kind = TYPES[type];
    if (kind === undefined) throw new Error(`unrecognized tar header type: ${type}`);
    const common = { kind, mode, bytes: kind === 'symlink' ? Buffer.from(linkTo) : bytes };
    if (root === undefined) {
      if (name.includes('/')) throw new Error(`root name contains multiple components : "${name}"`);
      if (['', '.', '..'].includes(name)) throw new Error(`invalid root path: "${name}"`);
      root = name;
      entries.push({ ...common, path: '' });
      continue;
    }
    if (entries[0]?.kind !== 'directory') throw new Error('the tar has multiple entries');
    for (const element of name.split('/'))
      if (['', '.', '..'].includes(element))
        throw new Error(`"${name}" : path contains "${element}"`);
    if (!name.startsWith(`${root}/`)) throw new Error('contains more than one root');
    const path = name.slice(root.length + 1);
    const above = path.split('/').slice(0, -1);
    for (const [index] of above.entries()) {
      const folder = above.slice(0, index + 1).join('/');
      const kindAbove = entries.findLast((entry) => entry.path === folder)?.kind;
      if (kindAbove === 'symlink') throw new Error('cannot traverse symlinks');
      if (kindAbove !== 'directory') throw new Error(`${folder} is not there`);
    }
    entries.push({ ...common, path });
  }
  if (root === undefined) throw new Error('empty tar file');
  return { root, entries };
}

interface TarItem {
  readonly name: string;
  readonly type: string;
  readonly bytes: Buffer;
  readonly linkTo: string;
  readonly mode: number;
}

function* readTar(tar: Buffer): Generator<TarItem, void> {
  let extended = new Map<string, string>();
  for (let at = 0; ;) {
    const header = tar.subarray(at, at + RECORD_BYTES);
    if (header.length < RECORD_BYTES) throw new Error('unexpected EOF');
    if (header.every((byte) => byte === 0)) return;
    const sum = header.reduce(
      (all, byte, index) => all + (index >= 148 && index < 156 ? 32 : byte),
      0,
    );
    if (octal(header, 148, 8) !== sum) throw new Error('archive/tar: invalid tar header');
    const sizeBytes = Number(extended.get('size') ?? octal(header, 124, 12));
    const bytes = tar.subarray(at + RECORD_BYTES, at + RECORD_BYTES + sizeBytes);
    if (bytes.length < sizeBytes) throw new Error('unexpected EOF');
    at += RECORD_BYTES * (1 + Math.ceil(sizeBytes / RECORD_BYTES));
    const type = text(header, 156, 1);
    if (type === 'x') {
      extended = readRecords(bytes);
      continue;
    }
    const prefix = text(header, 345, 155);
    yield {
      name: extended.get('path') ?? `${prefix}${prefix === '' ? '' : '/'}${text(header, 0, 100)}`,
      type,
      bytes,
      linkTo: extended.get('linkpath') ?? text(header, 157, 100),
      mode: octal(header, 100, 8),
    };
    extended = new Map();
  }
}

/** `<length> <name>=<value>\n`, one after the other. */
function readRecords(bytes: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < bytes.length;) {
    const length = Number.parseInt(bytes.toString('latin1', at, at + 10), 10);
    const record = bytes.toString('utf8', at, at + length);
    const [, name = '', value = ''] = /^\d+ ([^=]+)=(.*)\n$/s.exec(record) ?? [];
    if (name === '') throw new Error('archive/tar: invalid tar header');
    records.set(name, value);
    at += length;
  }
  return records;
}

const text = (header: Buffer, at: number, length: number): string =>
  header
    .toString('utf8', at, at + length)
    .split('\0', 1)
    .join();

const octal = (header: Buffer, at: number, length: number): number =>
  Number.parseInt(text(header, at, length).trim() || '0', 8);
