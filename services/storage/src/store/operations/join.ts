/** An upload that finds its blocks here joins them: from then on its lease holds them too. */
import type { Lease } from '@shoal/protocol';
import type { Digest } from '../../disk/block-record.ts';
import { recordAfterJoin } from '../../index/records.ts';
import { leaseGivenUp } from '../state/leases.ts';
import type { OperationParts } from '../state/store-parts.ts';
import { change } from './change.ts';

export function createJoin(parts: OperationParts) {
  const { table, leases, retired, nowMs, uptimeMs } = parts;
  return (lease: Lease, digests: readonly Digest[]): Promise<boolean[]> =>
    change(parts, async (exclusive) => {
      if (leases.isGivenUp(lease)) throw leaseGivenUp(lease);
      const held = digests.map((digest) => table.held(digest));
      const put = digests.flatMap((digest, at) => {
        const old = held[at];
        const record = old === undefined ? undefined : recordAfterJoin(old, lease, nowMs());
        return record === undefined ? [] : [{ digest, record }];
      });
      await table.write(exclusive, { put });
      for (const [at, digest] of digests.entries()) {
        if (held[at] === undefined) continue;
        leases.hold(exclusive, lease, digest, { isProvisional: false, nowMs: uptimeMs() });
        retired.delete(exclusive, digest);
      }
      return held.map((record) => record !== undefined);
    });
}
