/**
 * Which scenarios a commit plays: one of four groups, by the commit's hash alone. Each scenario comes up
 * once in four commits on average, at its full scale, and the same commit plays the same again, from the
 * same seed. The groups take about the same time, which is what bounds a test run; those of one stage
 * stand together as far as that allows.
 */
import { createHash } from 'node:crypto';

/** Times of the short form are in README.md. */
export const ROTA = [
  ['R1', 'R2', 'R7', 'R10'],
  ['R5', 'R6', 'R8', 'R12', 'R22'],
  ['R3', 'R4', 'R11', 'R13'],
  ['R15', 'R16', 'R17', 'R21'],
] as const;

export interface Turn {
  /** Index of the group in `ROTA`. */
  readonly index: number;
  readonly ids: readonly string[];
  readonly seed: string;
}

/** The turn of a commit, by its full hash. */
export function turnOf(commit: string): Turn {
  const digest = createHash('sha256').update(`shoal chaos rota ${commit}`).digest();
  const index = (digest[0] ?? 0) % ROTA.length;
  return { index, ids: ROTA[index] ?? ROTA[0], seed: String(digest.readUInt32BE(4)) };
}
