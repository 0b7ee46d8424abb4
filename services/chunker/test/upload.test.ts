import { expect, it } from '@jest/globals';
import type { IncomingFile } from '../src/request/read-body.ts';
import { upload } from '../src/upload.ts';
import { paper } from './intake/paper.ts';

const { signal } = new AbortController();
const FILES = 50;

it('reads a form no further once a file of it failed, and keeps none of it', async () => {
  const { deps, ends } = paper();
  let read = 0;
  async function* files(): AsyncGenerator<IncomingFile> {
    for (; read < FILES; read += 1) {
      const bytes = Buffer.from(`file ${read}`);
      const wishes = { replicas: 3, copies: 2, expiresAtMs: undefined, expectedSha256: undefined };
      yield {
        name: `${read}`,
        ...wishes,
        async *body() {
          await new Promise(setImmediate); // as bytes come
          yield bytes;
        },
      };
    }
  }
  let spreads = 0;
  const smallFiles = {
    async spread() {
      spreads += 1;
      if (spreads === 2) throw new Error('no room');
      return 2;
    },
  } as unknown as typeof deps.smallFiles; // what an upload uses of it
  await expect(upload(files(), { ...deps, smallFiles }, { signal })).rejects.toThrow('no room');
  expect(read).toBeLessThan(5);
  expect(ends.filter((end) => end === 'here true')).toEqual([]);
});
