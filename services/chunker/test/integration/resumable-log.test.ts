import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { CHUNK_SIZE_BYTES, fileNameFault, MiB, StorageFull } from '@shoal/protocol';
import { readTail, removeTail, writeTail } from '../../src/resumable/tail.ts';
import { UploadHead } from '../../src/resumable/log.ts';
import { beginUpload, restoreUpload } from '../../src/resumable/upload-state.ts';

const HEAD = UploadHead.parse({
  v: 1,
  id: 'ab'.repeat(16),
  lease: '00000000-0000-4000-8000-000000000000',
  sizeBytes: 5 * MiB + 10,
  metadata: { filename: 'ä.bin', flag: null },
  wishes: { name: 'ä.bin', replicas: 3, copies: 2 },
});
const cidAt = (index: number) => hashBlock('raw', Buffer.from([index]));

describe('what is written down of an upload', () => {
  let dir = '';
  const paths = () => ({ logPath: join(dir, 'a.upload'), tailPath: join(dir, 'a.tail') });
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'shoal-resumable-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('comes back, cut at any byte: whole lines, and nothing that was not said', async () => {
    const { log } = await beginUpload(paths(), HEAD);
    const sizes = [statSync(paths().logPath).size];
    for (let index = 0; index < 4; index += 1) {
      await log.addLeaves([cidAt(index)]);
      sizes.push(statSync(paths().logPath).size);
    }
    await log.add({ isPinning: true });
    const text = readFileSync(paths().logPath);
    expect(text.length).toBeGreaterThan(sizes.at(-1) ?? 0);
    for (let length = 0; length <= text.length; length += 1) {
      writeFileSync(paths().logPath, text.subarray(0, length));
      const upload = await restoreUpload(paths());
      const leaves = sizes.filter((size) => size <= length).length - 1;
      expect(upload?.leaves.count).toBe(leaves < 0 ? undefined : leaves);
      if (upload === undefined) continue;
      expect(upload.log.head).toEqual(HEAD);
      expect(upload.mayBePinned).toBe(length === text.length);
      // What is added then stands on a line of its own.
      await upload.log.addLeaves([cidAt(9)]);
      const again = await restoreUpload(paths());
      expect(again?.leaves.slice(0, 9)).toEqual([...upload.leaves.slice(0, 9), cidAt(9)]);
    }
  });

  it('comes back with a name that no new file may have, since an earlier rule let it pass', async () => {
    const name = 'gpj\u202eexe';
    expect(fileNameFault(name)).toBeDefined();
    await beginUpload(paths(), { ...HEAD, wishes: { ...HEAD.wishes, name } });
    expect((await restoreUpload(paths()))?.log.head.wishes.name).toBe(name);
  });

  it('holds whole lines when the disk takes a part of what is written', async () => {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', dir], { stdio: 'ignore' });
    } catch {
      return; // mounting is not allowed here
    }
    try {
      const { log } = await beginUpload(paths(), HEAD);
      await log.addLeaves([cidAt(0)]);
      const sizeBytes = statSync(paths().logPath).size;
      const filler = join(dir, 'filler');
      expect(() => writeFileSync(filler, Buffer.alloc(MiB))).toThrow('ENOSPC');
      // Its last page has room for some of these lines.
      const lines = Array.from({ length: 100 }, (_, index) => cidAt(index + 1));
      await expect(log.addLeaves(lines)).rejects.toBeInstanceOf(StorageFull);
      expect(statSync(paths().logPath).size).toBe(sizeBytes);
      await expect(writeTail(paths().tailPath, 1, Buffer.alloc(5000))).rejects.toBeInstanceOf(
        StorageFull,
      );
      expect(readdirSync(dir).toSorted()).toEqual(['a.upload', 'filler']);
      await log.addLeaves([cidAt(1)]); // what fits is taken
      rmSync(filler);
      await log.addLeaves(lines.slice(1));
      const upload = await restoreUpload(paths());
      expect(upload?.leaves.slice(0, 200)).toEqual([cidAt(0), ...lines]);
    } finally {
      execFileSync('umount', [dir]);
    }
  });

  it('ends at what is not a line of it', async () => {
    const { log } = await beginUpload(paths(), HEAD);
    await log.addLeaves([cidAt(0)]);
    const text = readFileSync(paths().logPath, 'utf8');
    for (const noise of ['\0'.repeat(200), 'noise\n', `{"leaves":-1}\n${cidAt(1)}\n`, '\n\n']) {
      writeFileSync(paths().logPath, `${text}${noise}`);
      expect((await restoreUpload(paths()))?.leaves.count).toBe(1);
      expect(readFileSync(paths().logPath, 'utf8')).toBe(text);
    }
    writeFileSync(paths().logPath, '');
    expect(await restoreUpload(paths())).toBeUndefined();
  });

  it('knows the bytes behind the last chunk until they are one', async () => {
    const upload = await beginUpload(paths(), HEAD);
    await upload.writeTail(Buffer.from('tail'));
    expect(upload.offset).toBe(4);
    await upload.log.addLeaves([cidAt(0)]);
    const restored = await restoreUpload(paths()); // killed before the old tail was removed
    if (restored === undefined) throw new Error('no upload');
    expect(restored.offset).toBe(CHUNK_SIZE_BYTES);
    await restored.writeTail(Buffer.from('ta'));
    expect(restored.offset).toBe(CHUNK_SIZE_BYTES + 2);
    await restored.cutTo(0);
    expect([restored.offset, await readTail(paths().tailPath)]).toEqual([0, undefined]);
    const cut = await restoreUpload(paths());
    expect(cut?.offset).toBe(0);
  });

  it('takes a tail that is damaged for none', async () => {
    const { tailPath } = paths();
    await writeTail(tailPath, 3, Buffer.from('some bytes'));
    const whole = readFileSync(tailPath);
    for (let length = 0; length < whole.length; length += 1) {
      writeFileSync(tailPath, whole.subarray(0, length));
      expect(await readTail(tailPath)).toBeUndefined();
    }
    writeFileSync(tailPath, whole);
    expect(await readTail(tailPath)).toMatchObject({ afterLeaves: 3, sizeBytes: 10 });
    await removeTail(tailPath);
    await removeTail(tailPath);
  });

  it('is whole when the last, shorter chunk is there', async () => {
    const upload = await beginUpload(paths(), HEAD);
    await upload.addLeaves([0, 1, 2, 3, 4].map(cidAt));
    expect([upload.offset, upload.isWhole]).toEqual([5 * MiB, false]);
    await upload.addLeaves([cidAt(5)]);
    expect([upload.offset, upload.isWhole]).toEqual([5 * MiB + 10, true]);
    await upload.log.add({ sizeBytes: 7 * MiB });
    expect((await restoreUpload(paths()))?.sizeBytes).toBe(7 * MiB);
  });
});
