import { DATE_MAX_MS } from '@shoal/protocol';
import * as z from 'zod';
import { Signed } from '../network/signed.ts';

/** A member's record and the wall-clock time it was last seen. */
export const SavedMember = z.object({
  signed: Signed,
  seenAtMs: z.number().min(0).max(DATE_MAX_MS),
});
export type SavedMember = z.infer<typeof SavedMember>;
