import { describe, expect, it } from '@jest/globals';
import { crashStateAt, createDiskRecord } from '../src/crash-states.ts';
import { createRandom } from '../src/random.ts';

const ROUNDS = 400;
const BYTES = new Uint8Array(2000).fill(7);

/** Writes one file the careful way; each call may be left out. */
function writeFile({ isSynced = true, isFolderSynced = true } = {}) {
  const record = createDiskRecord();
  record.now({ kind: 'make-folder', path: 'blocks' });
  record.now({ kind: 'sync-folder', path: '' });
  record.now({ kind: 'create', path: 'draft', file: 1 });
  record.begin({ kind: 'write', file: 1, offset: 0, bytes: BYTES })();
  if (isSynced) record.begin({ kind: 'sync', file: 1 })();
  record.now({ kind: 'rename', from: 'draft', to: 'blocks/a', file: 1 });
  if (isFolderSynced) record.begin({ kind: 'sync-folder', path: 'blocks' })();
  return record;
}

function statesOf(record: ReturnType<typeof createDiskRecord>, tick = record.ticks) {
  const random = createRandom('power cuts');
  return Array.from({ length: ROUNDS }, () => crashStateAt(record.steps, tick, random));
}

describe('what a disk may hold after a power cut', () => {
  it('keeps what was synced, bytes and name', () => {
    for (const { files } of statesOf(writeFile())) expect(files.get('blocks/a')).toEqual(BYTES);
  });

  it('loses a name whose folder was not synced, though its bytes were', () => {
    const states = statesOf(writeFile({ isFolderSynced: false }));
    expect(states.some(({ files }) => !files.has('blocks/a'))).toBe(true);
    expect(states.some(({ files }) => files.has('blocks/a'))).toBe(true);
    for (const { files } of states) expect(files.has('blocks/a') && files.has('draft')).toBe(false); // a rename is never half done
  });

  it('tears, zeroes or loses bytes that were not synced', () => {
    const contents = statesOf(writeFile({ isSynced: false })).map(({ files }) =>
      Buffer.from(files.get('blocks/a') ?? []),
    );
    expect(contents.some((bytes) => bytes.equals(BYTES))).toBe(true);
    expect(contents.some((bytes) => bytes.length === 0)).toBe(true);
    expect(contents.some((bytes) => bytes.length > 0 && bytes.length < BYTES.length)).toBe(true);
    expect(contents.some((bytes) => bytes.equals(Buffer.alloc(BYTES.length)))).toBe(true);
  });

  it('does not trust a sync that began before the write ended', () => {
    const record = createDiskRecord();
    record.now({ kind: 'create', path: 'a', file: 1 });
    record.now({ kind: 'sync-folder', path: '' });
    const endWrite = record.begin({ kind: 'write', file: 1, offset: 0, bytes: BYTES });
    const endSync = record.begin({ kind: 'sync', file: 1 });
    endWrite();
    endSync();
    const states = statesOf(record);
    expect(states.some(({ files }) => files.get('a')?.length !== BYTES.length)).toBe(true);
  });

  it('takes a folder along with its name', () => {
    const record = createDiskRecord();
    record.now({ kind: 'make-folder', path: 'blocks' });
    record.now({ kind: 'create', path: 'blocks/a', file: 1 });
    record.now({ kind: 'sync-folder', path: 'blocks' });
    const states = statesOf(record);
    expect(states.some(({ folders }) => !folders.has('blocks'))).toBe(true);
    const orphaned = states.filter(
      ({ folders, files }) => !folders.has('blocks') && files.size > 0,
    );
    expect(orphaned).toEqual([]);
  });

  it('gives a database its new root only with all of its pages', () => {
    const page = (value: number) => Buffer.alloc(4096, value);
    const before = Buffer.concat([page(1), page(1), page(2), page(3)]);
    const after = Buffer.concat([page(9), page(1), page(2), page(4), page(5)]);
    const record = createDiskRecord();
    record.beginCommit('db')(before);
    const end = record.beginCommit('db');
    const middle = record.ticks;
    end(after);
    const databases = statesOf(record, middle).map(({ files }) =>
      Buffer.from(files.get('db') ?? []),
    );
    expect(databases.some((bytes) => bytes.equals(before))).toBe(true);
    expect(databases.some((bytes) => bytes.equals(after))).toBe(true);
    expect(databases.some((bytes) => !bytes.equals(before) && !bytes.equals(after))).toBe(true);
    const early = databases.filter((bytes) => bytes[0] === 9 && !bytes.equals(after));
    expect(early).toEqual([]);
    for (const { files } of statesOf(record)) expect(files.get('db')).toEqual(after);
  });
});
