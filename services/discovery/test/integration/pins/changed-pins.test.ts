import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import {
  createLog,
  createPeerClient,
  createProver,
  createRegistry,
  createServer,
  mount,
} from '@shoal/chassis';
import { PeerId, ServiceUnavailable, transferRoutes } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { ChangedPins } from '../../../src/pins/changed-pins.ts';

const self = PeerId.parse('12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5');
const log = createLog('discovery', 'silent');
const rootOf = (name: string) => hashBlock('raw', Buffer.from(name));

describe('transfer, when pins changed,', () => {
  const prover = createProver(Buffer.alloc(32, 1), self, Buffer.alloc(64, 2));
  const app = createServer({
    service: 'transfer',
    log,
    registry: createRegistry('transfer'),
    whyNotReady: () => undefined,
    hostNames: [],
  });
  let told: { roots: readonly string[]; isAll: boolean }[] = [];
  let isAway = false;
  mount({ app, prover, self }, transferRoutes.forgetPins, async ({ body }) => {
    if (isAway) throw new ServiceUnavailable({ service: 'transfer' });
    told.push(body);
    return {};
  });
  let origin = '';
  beforeAll(async () => {
    origin = await app.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(() => app.close());
  beforeEach(() => {
    [told, isAway] = [[], false];
  });
  const open = () => {
    const own = {
      gateway: origin,
      chunker: origin,
      storage: origin,
      transfer: origin,
      discovery: origin,
    };
    const client = createPeerClient({ prover, self, own });
    const changed = new ChangedPins({ client, log });
    return {
      changed,
      async [Symbol.asyncDispose]() {
        changed[Symbol.dispose]();
        await client[Symbol.asyncDispose]();
      },
    };
  };

  it('is told at first that any may have, then of those that did, before that is over', async () => {
    await using stand = open();
    await stand.changed.tell();
    expect(told).toEqual([{ roots: [], isAll: true }]);
    stand.changed.note(rootOf('a'));
    await stand.changed.tell();
    expect(told.at(-1)).toEqual({ roots: [rootOf('a')], isAll: false });
    await stand.changed.tell();
    expect(told).toHaveLength(2); // there is nothing to tell
  });

  it('is told again of what it did not take', async () => {
    await using stand = open();
    await stand.changed.tell();
    isAway = true;
    stand.changed.note(rootOf('a'));
    await stand.changed.tell();
    isAway = false;
    await eventually('it was told', () => told.length === 2);
    expect(told.at(-1)).toEqual({ roots: [rootOf('a')], isAll: false });
  });

  it('is told that any may have when it is too many', async () => {
    await using stand = open();
    await stand.changed.tell();
    for (let at = 0; at < 3000; at += 1) stand.changed.note(rootOf(`file ${at}`));
    await stand.changed.tell();
    expect(told.at(-1)?.isAll).toBe(true);
  });
});
