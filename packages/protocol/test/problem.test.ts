import { describe, expect, it } from '@jest/globals';
import { BlockCorrupt, PROBLEMS, ProblemBody, problemFromBody, StorageFull } from '../src/index.ts';

describe('problems', () => {
  it('survive the wire as the class that was thrown', () => {
    const sent = new BlockCorrupt({ cid: 'bafk', peer: 'p1' });
    const wire = ProblemBody.parse(JSON.parse(JSON.stringify(sent.toBody('urn:request:1'))));
    const back = problemFromBody(wire);
    expect(back).toBeInstanceOf(BlockCorrupt);
    expect(back?.fields).toEqual({ cid: 'bafk', peer: 'p1' });
    expect(wire).toMatchObject({ status: 422, instance: 'urn:request:1' });
  });

  it('keep their cause to themselves', () => {
    const body = new StorageFull(
      { limit: 'disk', freeBytes: 1 },
      { cause: new Error('/secret/path') },
    ).toBody('urn:request:1');
    expect(JSON.stringify(body)).not.toContain('secret');
  });

  it('have types of their own', () => {
    expect(new Set(PROBLEMS.map(({ type }) => type)).size).toBe(PROBLEMS.length);
  });

  it('of another kind are not mistaken for ours', () => {
    expect(
      problemFromBody({ type: 'about:blank', title: 'Not found', status: 404 }),
    ).toBeUndefined();
    expect(
      problemFromBody({ type: 'problems/block-corrupt', title: 'x', status: 422 }),
    ).toBeUndefined();
  });
});
