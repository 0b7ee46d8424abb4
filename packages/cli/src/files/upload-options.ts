/** The options that all commands share which bring something into the swarm. */
import { REPLICAS_MAX } from '@shoal/protocol';
import { readNumber } from '../options.ts';
import { readExpiry } from './read-expiry.ts';

export const UPLOAD_OPTIONS = {
  replicas: { type: 'string' },
  copies: { type: 'string' },
  expires: { type: 'string' },
} as const;

export const UPLOAD_USAGE = `  --replicas N       copies to keep
  --copies N         copies to wait for
  --expires WHEN     when it ends by itself: a date, or a time from now such as 7d (default: never)`;

/** The wishes that were given; the peer chooses the rest. */
export interface UploadWishes {
  readonly replicas: number | undefined;
  readonly copies: number | undefined;
  /** RFC 3339. */
  readonly expiresAt: string | undefined;
}

/** @throws UsageError */
export function readWishes(values: {
  readonly replicas?: string | undefined;
  readonly copies?: string | undefined;
  readonly expires?: string | undefined;
}): UploadWishes {
  return {
    replicas: readCount(values.replicas, { name: '--replicas', min: 1 }),
    copies: readCount(values.copies, { name: '--copies', min: 0 }),
    expiresAt: readExpiry(values.expires, Date.now()) ?? undefined,
  };
}

function readCount(
  text: string | undefined,
  { name, min }: { name: string; min: number },
): number | undefined {
  return text === undefined ? undefined : readNumber(text, { name, min, max: REPLICAS_MAX });
}
