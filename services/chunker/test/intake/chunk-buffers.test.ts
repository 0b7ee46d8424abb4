import { describe, expect, it } from '@jest/globals';
import { createChunkBuffers } from '../../src/intake/chunk-buffers.ts';

const signal = new AbortController().signal;

describe('the chunk buffers', () => {
  it('gives a waiting taker the next buffer that comes back', async () => {
    const pool = createChunkBuffers({ sizeBytes: 8, sharedMax: 1 });
    const first = await pool.take({ signal });
    const second = pool.take({ signal });
    pool.giveBack(first);
    expect(await second).toBe(first);
    expect(pool.inUse).toBe(1);
  });

  it('forgets a taker that left', async () => {
    const pool = createChunkBuffers({ sizeBytes: 8, sharedMax: 1 });
    const first = await pool.take({ signal });
    const leaver = new AbortController();
    const left = pool.take({ signal: leaver.signal });
    leaver.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    pool.giveBack(first);
    expect(pool.inUse).toBe(0);
  });

  it('has a buffer for each upload, however many wait', async () => {
    const pool = createChunkBuffers({ sizeBytes: 8, sharedMax: 1 });
    await pool.take({ signal });
    const upload = pool.admit();
    const own = await pool.take({ signal });
    upload[Symbol.dispose]();
    const late = pool.take({ signal });
    pool.giveBack(own); // above the bound of one by now, so it goes to nobody
    expect(pool.inUse).toBe(1);
    pool.giveBack(own);
    expect(await late).toBe(own);
  });
});
