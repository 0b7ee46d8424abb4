import { getEventListeners } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { orAborted } from '../src/index.ts';

const never = new Promise<never>(() => {});

describe('orAborted', () => {
  it('gives what the promise gives, a failure too', async () => {
    const { signal } = new AbortController();
    await expect(orAborted(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(orAborted(Promise.reject(new Error('broke')), signal)).rejects.toThrow('broke');
  });

  it("rejects with the signal's reason as soon as that fires", async () => {
    const controller = new AbortController();
    const waiting = orAborted(never, controller.signal);
    controller.abort(new Error('left'));
    await expect(waiting).rejects.toThrow('left');
  });

  it('rejects with the failure that it was given instead', async () => {
    const signal = AbortSignal.abort(new Error('late'));
    await expect(orAborted(never, signal, new Error('busy'))).rejects.toThrow('busy');
  });

  it('is over at once when the signal fired before, whatever the promise gives', async () => {
    const signal = AbortSignal.abort(new Error('left'));
    await expect(orAborted(Promise.resolve(1), signal)).rejects.toThrow('left');
  });

  it('leaves no listener, and handles a rejection that comes too late', async () => {
    const controller = new AbortController();
    await orAborted(Promise.resolve(), controller.signal);
    const { promise, reject } = Promise.withResolvers<never>();
    const waiting = orAborted(promise, controller.signal);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
    controller.abort(new Error('left'));
    await expect(waiting).rejects.toThrow('left');
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    reject(new Error('unheard, this would end the process'));
    await new Promise(setImmediate);
  });
});
