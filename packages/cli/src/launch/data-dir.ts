import { join } from 'node:path';
import type { Context } from '../context.ts';
import { UsageError } from '../failure.ts';

/** Where a peer's data is when nobody says. @throws UsageError without a home folder. */
export function defaultDataDir({ env }: Context): string {
  const data = env['XDG_DATA_HOME'] ?? (env['HOME'] && join(env['HOME'], '.local', 'share'));
  if (!data) throw new UsageError('there is no home folder: give --data-dir');
  return join(data, 'shoal');
}
