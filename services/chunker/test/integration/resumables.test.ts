import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createLog, createRegistry } from '@shoal/chassis';
import { Overloaded, UploadExpired, UploadNotFound } from '@shoal/protocol';
import type { IntakeDeps } from '../../src/intake/intake.ts';
import { createMetrics } from '../../src/metrics.ts';
import { newUploadId, openResumables } from '../../src/resumable/uploads.ts';
import { until } from './stand.ts';

const WISHES = { name: 'a.bin', replicas: 1, copies: 1 };
const EXPIRES_MS = 3_600_000;

/** What an upload without bytes needs of the rest of the peer. */
const deps = () =>
  ({
    metrics: createMetrics(createRegistry('chunker')),
    log: createLog('chunker', 'silent'),
    leases: { end: async () => {} },
    replicator: { open: () => ({ release: async () => {}, close() {} }) },
    stopping: new AbortController().signal,
  }) as unknown as IntakeDeps;

describe('the resumable uploads of a peer', () => {
  let parent = '';
  const open = (openMax = 5) =>
    openResumables(
      { folder: join(parent, 'uploads'), expiresMs: EXPIRES_MS, openMax, sizeMaxBytes: 1000 },
      deps(),
    );
  const names = () => readdirSync(join(parent, 'uploads')).toSorted();
  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), 'shoal-resumables-'));
  });
  afterEach(() => rmSync(parent, { recursive: true, force: true }));

  it('are there again after a restart, and what belongs to none is cleared away', async () => {
    const [id, broken] = [newUploadId(), newUploadId()];
    {
      await using resumables = await open();
      await resumables.create({ id, wishes: WISHES, sizeBytes: 7 });
      await resumables.declareSize(id, 8);
    }
    for (const name of ['noise', `${newUploadId()}.tail`, `${id}.upload.draft`, `${broken}.upload`])
      writeFileSync(join(parent, 'uploads', name), 'not one of ours');
    await using resumables = await open();
    expect(names()).toEqual([`${id}.upload`]);
    const upload = await resumables.ready(id);
    expect([upload.sizeBytes, upload.offset, upload.log.head.wishes]).toEqual([8, 0, WISHES]);
    expect(() => resumables.find(broken)).toThrow(UploadNotFound);
    await resumables.remove(id);
    expect(names()).toEqual([]);
    await expect(resumables.remove(id)).rejects.toThrow(UploadNotFound);
  });

  it('are refused past the bound, and taken again when one is over', async () => {
    await using resumables = await open(2);
    const ids = [newUploadId(), newUploadId(), newUploadId()] as const;
    await resumables.create({ id: ids[0], wishes: WISHES });
    await resumables.create({ id: ids[1], wishes: WISHES });
    const third = { id: ids[2], wishes: WISHES };
    await expect(resumables.create(third)).rejects.toThrow(Overloaded);
    await resumables.remove(ids[0]);
    await resumables.create(third);
  });

  it('give way to those of another client, also over a restart', async () => {
    const [kept, newest, other] = [newUploadId(), newUploadId(), newUploadId()];
    {
      await using resumables = await open(2);
      await resumables.create({ id: kept, client: 'a', wishes: WISHES });
      await resumables.create({ id: newest, client: 'a', wishes: WISHES });
    }
    await using resumables = await open(2);
    await resumables.create({ id: other, client: 'b', wishes: WISHES });
    expect(names()).toHaveLength(2);
    const gone = [kept, newest].filter((id) => resumables.peek(id) === undefined);
    expect([gone.length, resumables.find(other).id]).toEqual([1, other]);
    const third = { id: newUploadId(), client: 'a', wishes: WISHES };
    await expect(resumables.create(third)).rejects.toThrow(Overloaded);
  });

  it('that are empty, or stand still, give way to others within minutes', async () => {
    await using resumables = await open(2);
    const [empty, busy] = [newUploadId(), newUploadId()];
    for (const id of [empty, busy]) await resumables.create({ id, client: 'a', wishes: WISHES });
    resumables.find(empty).usedAtMs -= 61_000;
    resumables.find(busy).usedAtMs -= 30_000;
    await resumables.create({ id: newUploadId(), client: 'a', wishes: WISHES });
    expect([resumables.peek(empty), resumables.find(busy).id]).toEqual([undefined, busy]);
    await expect(
      resumables.create({ id: newUploadId(), client: 'a', wishes: WISHES }),
    ).rejects.toThrow(Overloaded);
  });

  it('expire when they are left alone, also over a restart', async () => {
    const [id, other] = [newUploadId(), newUploadId()];
    const longAgo = new Date(Date.now() - EXPIRES_MS - 1000);
    {
      await using resumables = await open();
      await resumables.create({ id, wishes: WISHES });
      await resumables.create({ id: other, wishes: WISHES });
      resumables.find(id).usedAtMs = longAgo.getTime();
      await expect(resumables.ready(id)).rejects.toThrow(UploadExpired);
      expect(await resumables.expire()).toBe(1);
      await expect(resumables.ready(id)).rejects.toThrow(UploadNotFound);
    }
    utimesSync(join(parent, 'uploads', `${other}.upload`), longAgo, longAgo);
    await using resumables = await open();
    await until('the other is gone', () => resumables.peek(other) === undefined);
    await until('and its file', () => names().length === 0);
  });
});
