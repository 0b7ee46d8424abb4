/** The audit of a service, on a real disk: what is kept, in which order, and what a disk that takes nothing does to it. */
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Audit, createRegistry, openAudit } from '../../src/index.ts';

let folder: string;
let warnings: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-audit-'));
  warnings = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function open({
  nowMs = () => 1000,
  ...options
}: { nowMs?: () => number; fileMaxBytes?: number } = {}) {
  const registry = createRegistry('chunker');
  const log = { warn: (_: unknown, text?: string) => void warnings.push(text ?? '') };
  // The log's type has more forms than are called.
  const audit = openAudit({ PEER_DATA_DIR: folder }, 'chunker', {
    registry,
    log: log as never,
    nowMs,
    ...options,
  });
  return { audit, registry };
}

const file = () => join(folder, 'audit', 'chunker.jsonl');
const cids = (audit: Audit, which: Partial<Parameters<Audit['page']>[0]> = {}) =>
  audit.page({ limit: 1000, ...which }).events.map(({ cid }) => cid);

describe('an audit', () => {
  it('has what was noted, oldest first, also after a restart, and goes on counting', () => {
    for (const cid of ['a', 'b']) {
      const { audit } = open();
      using _ = audit;
      audit.note({ kind: 'file-deleted', cid, address: '192.0.2.7', token: undefined });
    }
    const { audit } = open();
    using _ = audit;
    expect(audit.page({ limit: 10 })).toEqual({
      events: ['a', 'b'].map((cid, index) => ({
        seq: index + 1,
        atMs: 1000,
        kind: 'file-deleted',
        cid,
        address: '192.0.2.7',
      })),
      next: 2,
    });
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'audit')).mode & 0o777).toBe(0o700);
  });

  it('gives all events once to a reader that asks page by page, of one kind too', () => {
    using audit = open({ fileMaxBytes: 300 }).audit;
    for (let index = 0; index < 20; index += 1)
      audit.note({ kind: index % 2 === 0 ? 'file-deleted' : 'file-changed', cid: `${index}` });
    const read = (kind?: string) => {
      const seen: (string | undefined)[] = [];
      for (let after = 0; ;) {
        const { events, next } = audit.page({ after, limit: 3, kind });
        seen.push(...events.map(({ cid }) => cid));
        if (next === after) return seen;
        after = next;
      }
    };
    const all = cids(audit);
    expect(all.at(-1)).toBe('19');
    expect(read()).toEqual(all);
    expect(read('file-changed')).toEqual(all.filter((cid) => Number(cid) % 2 === 1));
    expect(cids(audit, { limit: 2 })).toEqual(['18', '19']);
  });

  it('keeps five files and no more', () => {
    using audit = open({ fileMaxBytes: 200 }).audit;
    for (let index = 0; index < 100; index += 1)
      audit.note({ kind: 'file-deleted', cid: `${index}` });
    expect(readdirSync(join(folder, 'audit'))).toHaveLength(5);
    const kept = cids(audit).map(Number);
    expect(kept.at(-1)).toBe(99);
    expect(kept).toEqual(kept.map((_, index) => 99 - kept.length + 1 + index));
    expect(kept.length).toBeGreaterThan(10);
  });

  it('reads past lines that were cut or that people wrote', () => {
    open().audit.note({ kind: 'file-deleted', cid: 'a' });
    appendFileSync(file(), 'hello\n{"seq":9}\n{"seq":2,"atMs":10,"ki');
    using audit = open().audit;
    audit.note({ kind: 'file-deleted', cid: 'b' });
    expect(cids(audit)).toEqual(['a', 'b']);
    expect(readFileSync(file(), 'utf8').endsWith('\n')).toBe(true);
  });

  it('gives a reader all that there is when its files were lost meanwhile', () => {
    using audit = open().audit;
    audit.note({ kind: 'file-deleted', cid: 'a' });
    expect(cids(audit, { after: 500 })).toEqual(['a']);
  });

  it('cuts long texts', () => {
    using audit = open().audit;
    audit.note({ kind: 'file-deleted', name: 'x'.repeat(5000) });
    expect(audit.page({ limit: 1 }).events[0]?.name).toHaveLength(300);
  });

  it('takes events that the disk does not take, says so once, and writes them when it does again', () => {
    // Where the folder belongs stands a file: nothing can be made there, by root neither.
    writeFileSync(join(folder, 'audit'), '');
    using audit = open().audit;
    audit.note({ kind: 'file-deleted', cid: 'a' });
    audit.note({ kind: 'file-deleted', cid: 'b' });
    expect(warnings).toHaveLength(1);
    expect(cids(audit)).toEqual(['a', 'b']);
    rmSync(join(folder, 'audit'));
    audit.note({ kind: 'file-deleted', cid: 'c' });
    expect(cids(audit)).toEqual(['a', 'b', 'c']);
    expect(readFileSync(file(), 'utf8').trim().split('\n')).toHaveLength(3);
  });

  it('takes no more than a bound into memory then', () => {
    writeFileSync(join(folder, 'audit'), '');
    using audit = open().audit;
    for (let index = 0; index < 1000; index += 1)
      audit.note({ kind: 'file-deleted', cid: `${index}` });
    const kept = cids(audit);
    expect([kept.length, kept.at(-1)]).toEqual([256, '999']);
  });

  it('keeps all that it was told when the disk ends in the middle of a line', () => {
    const module = fileURLToPath(new URL('../../src/index.ts', import.meta.url));
    const program = `
      import { createRegistry, openAudit } from ${JSON.stringify(module)};
      const registry = createRegistry('chunker');
      const audit = openAudit({ PEER_DATA_DIR: ${JSON.stringify(folder)} }, 'chunker', { registry, log: { warn() {} } });
      for (let index = 0; index < 30; index += 1) audit.note({ kind: 'file-deleted', cid: String(index) });
      console.log(audit.page({ limit: 1000 }).events.map(({ cid }) => cid).join(' '));
    `;
    // Files of this process may grow to 1 KiB: a write beyond takes what fits, and the next one fails.
    const shell = 'ulimit -f 1; exec "$0" --no-warnings --input-type=module -e "$1"';
    const out = execFileSync('bash', ['-c', shell, process.execPath, program], {
      encoding: 'utf8',
    });
    const expected = Array.from({ length: 30 }, (_, index) => String(index));
    expect(out.trim().split(' ')).toEqual(expected);
    const onDisk = readFileSync(file(), 'utf8');
    expect(onDisk).toHaveLength(1024);
    // With room again all that follows is whole; those in memory went with the process.
    using audit = open().audit;
    audit.note({ kind: 'file-deleted', cid: 'z' });
    const whole = onDisk.split('\n').slice(0, -1).length;
    expect(cids(audit)).toEqual([...expected.slice(0, whole), 'z']);
  });

  it('tells of strangers a bounded number of times in an hour, and counts them all', async () => {
    let nowMs = 0;
    const { audit, registry } = open({ nowMs: () => nowMs });
    using _ = audit;
    audit.note({ kind: 'file-deleted', cid: 'a' });
    for (let index = 0; index < 500; index += 1)
      audit.note({ kind: 'handshake-refused', address: `192.0.2.${index % 250}` });
    const { events } = audit.page({ limit: 1000 });
    expect(events).toHaveLength(61);
    nowMs = 3_600_000;
    audit.note({ kind: 'handshake-refused', address: '192.0.2.1' });
    expect(audit.page({ limit: 1 }).events[0]).toMatchObject({ count: 441 });
    expect(await registry.metrics()).toContain('kind="handshake-refused",service="chunker"} 501');
  });
});
