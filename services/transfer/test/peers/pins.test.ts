import { describe, expect, it } from '@jest/globals';
import type { PeerClient } from '@shoal/chassis';
import { discoveryRoutes, FileGone, FileNotFound, ServiceUnavailable } from '@shoal/protocol';
import { PinCache } from '../../src/peers/pin-cache.ts';
import { PinLookups } from '../../src/peers/pins.ts';
import { cidOf, paperClient, pinOf } from '../paper.ts';

describe('the pin of a file', () => {
  const signal = new AbortController().signal;
  const lookups = (client: PeerClient) =>
    new PinLookups({ client, cache: new PinCache() }, { signal });
  const hash = cidOf('a file');

  it('is waited for while discovery starts again', async () => {
    let calls = 0;
    const findPins = () => {
      calls += 1;
      if (calls < 3) throw new ServiceUnavailable({ service: 'discovery' });
      return { pins: [pinOf('a file')] };
    };
    const pins = lookups(paperClient([[discoveryRoutes.findPins, findPins]]));
    expect(await pins.find(hash, { signal })).toEqual(pinOf('a file'));
  });

  it('is asked for together with others, and of others only when it is not known here', async () => {
    const questions: string[] = [];
    const deleted = pinOf('deleted', { deleted: true });
    const client = paperClient([
      [
        discoveryRoutes.findPins,
        ({ body }) => {
          const hashes = body['hashes'] as string[];
          questions.push(hashes.join(' '));
          return {
            pins: hashes.map((name) =>
              name === 'deleted' ? deleted : name === 'far' ? null : pinOf(name),
            ),
          };
        },
      ],
      [
        discoveryRoutes.getPin,
        ({ params: { hash: name = '' } }) => {
          questions.push(`get ${name}`);
          if (name === 'deleted') throw new FileGone({ hash: name, why: 'deleted' });
          return pinOf(name);
        },
      ],
    ]);
    const pins = lookups(client);
    const found = await Promise.allSettled(
      ['a', 'b', 'far', 'deleted'].map((name) => pins.find(cidOf(name), { signal })),
    );
    expect(questions).toEqual(['a b far deleted', 'get far', 'get deleted']);
    expect(found.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
    ]);
  });

  it('is not waited for when there is none', async () => {
    let calls = 0;
    const getPin = () => {
      calls += 1;
      throw new FileNotFound({ hash, peersAsked: 1 });
    };
    const client = paperClient([
      [discoveryRoutes.findPins, () => ({ pins: [null] })],
      [discoveryRoutes.getPin, getPin],
    ]);
    await expect(lookups(client).find(hash, { signal })).rejects.toBeInstanceOf(FileNotFound);
    expect(calls).toBe(1);
  });
});
