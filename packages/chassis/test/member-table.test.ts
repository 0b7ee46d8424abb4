import { describe, expect, it } from '@jest/globals';
import { ServiceUnavailable } from '@shoal/protocol';
import { MemberTable, type TableCopy } from '../src/client/member-table.ts';
import type { PeerClient } from '../src/client/peer-client.ts';
import { createLog } from '../src/process/log.ts';
import { createLoops } from '../src/process/loops.ts';

const { signal } = new AbortController();

/** A discovery that answers with these, one after the other, and then waits. */
function paperTable(answers: readonly (number | Error)[]) {
  const rest = answers.values();
  const waits: number[] = [];
  const call = async (_: unknown, __: unknown, args: object, options: { signal: AbortSignal }) => {
    const { query } = args as { query?: { after: number } };
    waits.push(query?.after ?? NaN);
    const { value, done } = rest.next();
    if (value instanceof Error) throw value;
    if (done !== true) return { version: value, members: [] };
    return new Promise((_resolve, reject) => {
      options.signal.addEventListener('abort', () => reject(new Error('aborted')));
    });
  };
  const client = { own: () => ({}), call } as unknown as PeerClient; // the part of it that is used
  return { table: new MemberTable({ client, log: createLog('test', 'silent') }), waits };
}

describe('a copy of the member table', () => {
  const away = new ServiceUnavailable({ service: 'discovery' });

  it('is shared by callers of one moment', async () => {
    const { table, waits } = paperTable([1, 2]);
    expect((await table.fresh({ signal }))?.version).toBe(1);
    expect((await table.fresh({ signal }))?.version).toBe(1);
    expect(waits).toHaveLength(1);
  });

  it('is undefined before the first, and asked for again after a failure', async () => {
    const { table } = paperTable([away, 1]);
    expect(await table.fresh({ signal })).toBeUndefined();
    expect((await table.fresh({ signal }))?.version).toBe(1);
  });

  it('is followed: each new version is given once, also after a discovery that restarted', async () => {
    const { table, waits } = paperTable([5, 5, away, 1]);
    const seen: TableCopy['version'][] = [];
    await new Promise<void>((resolve) => {
      table.follow(
        ({ version }) => {
          seen.push(version);
          if (version === 1) resolve();
        },
        { loops: createLoops({ log: createLog('test', 'silent') }) },
      );
    });
    await table[Symbol.asyncDispose]();
    expect(seen).toEqual([5, 1]);
    expect(waits.slice(0, 4)).toEqual([-1, 5, 5, -1]);
  });
});
