/** How disks harm what lies on them: each harm to one block's file, or to two. */
import { chmod, open, readFile, rename, stat, truncate, unlink, writeFile } from 'node:fs/promises';

export interface Rot {
  readonly what: string;
  /** Block files that it harms. */
  readonly blocks: 1 | 2;
  readonly act: (path: string, other?: string) => Promise<void>;
}

const flipAt =
  (share: number) =>
  async (path: string): Promise<void> => {
    const file = await open(path, 'r+');
    try {
      const { size } = await file.stat();
      const position = Math.min(size - 1, Math.floor(size * share));
      const byte = Buffer.alloc(1);
      await file.read(byte, 0, 1, position);
      await file.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, position);
    } finally {
      await file.close();
    }
  };

const cutTo =
  (sizeOf: (sizeBytes: number) => number) =>
  async (path: string): Promise<void> => {
    const { size } = await stat(path);
    await truncate(path, sizeOf(size));
  };

/** A superuser may read what has no permissions, so to it that is no harm. */
const isSuperuser = process.getuid?.() === 0;

export const ROT: readonly Rot[] = [
  { what: 'flip a bit of the first byte', blocks: 1, act: flipAt(0) },
  { what: 'flip a bit in the middle', blocks: 1, act: flipAt(0.5) },
  { what: 'flip a bit of the last byte', blocks: 1, act: flipAt(1) },
  { what: 'cut the last byte off', blocks: 1, act: cutTo((size) => size - 1) },
  { what: 'cut half of it off', blocks: 1, act: cutTo((size) => Math.floor(size / 2)) },
  { what: 'cut all of it off', blocks: 1, act: cutTo(() => 0) },
  {
    what: 'zero it',
    blocks: 1,
    act: async (path) => writeFile(path, Buffer.alloc((await stat(path)).size)),
  },
  {
    what: 'add a byte',
    blocks: 1,
    act: async (path) => writeFile(path, Buffer.concat([await readFile(path), Buffer.of(0)])),
  },
  {
    what: 'swap two',
    blocks: 2,
    async act(path, other = path) {
      await rename(path, `${path}.swapped`);
      await rename(other, path);
      await rename(`${path}.swapped`, other);
    },
  },
  { what: 'delete it', blocks: 1, act: unlink },
  ...(isSuperuser
    ? []
    : [
        { what: 'take its permissions', blocks: 1, act: (path: string) => chmod(path, 0) } as const,
      ]),
];
