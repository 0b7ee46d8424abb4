import { describe, expect, it } from '@jest/globals';
import { discoveryRoutes, FileNotFound, ServiceUnavailable } from '@shoal/protocol';
import { findPin } from '../../src/peers/pins.ts';
import { cidOf, paperClient, pinOf } from '../paper.ts';

describe('the pin of a file', () => {
  const signal = new AbortController().signal;
  const hash = cidOf('a file');

  it('is waited for while discovery starts again', async () => {
    let calls = 0;
    const getPin = () => {
      calls += 1;
      if (calls < 3) throw new ServiceUnavailable({ service: 'discovery' });
      return pinOf('a file');
    };
    const client = paperClient([[discoveryRoutes.getPin, getPin]]);
    expect(await findPin(hash, client, { signal })).toEqual(pinOf('a file'));
  });

  it('is not waited for when there is none', async () => {
    let calls = 0;
    const getPin = () => {
      calls += 1;
      throw new FileNotFound({ hash, peersAsked: 1 });
    };
    const client = paperClient([[discoveryRoutes.getPin, getPin]]);
    await expect(findPin(hash, client, { signal })).rejects.toBeInstanceOf(FileNotFound);
    expect(calls).toBe(1);
  });
});
