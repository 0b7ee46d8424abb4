/**
 * What the sweep does with a block. One that no pin reaches is first condemned: from then on it is
 * no copy to anybody, though still served. A later round deletes it, if it is still condemned then:
 * whatever counts on it meanwhile (a put, an upload's lease, a pin) takes the sentence back.
 */
import type { BlockRecord, BlockRow, Digest } from '../disk/block-record.ts';
import type { DigestMarks, Mark } from '../index/digest-marks.ts';
import type { Alone, StoreParts } from './parts.ts';
import { recordAfterCondemning, recordAfterReach } from '../index/records.ts';
import { removeBlocks } from './removal.ts';

/**
 * `reached`: by a pin. `spared`: by none, but an upload may yet have use for it. `condemned`: by
 * this round. `doomed`: by an earlier one, so it is deleted.
 */
export type Verdict = 'reached' | 'spared' | 'condemned' | 'doomed';

export interface Judgement {
  readonly record: BlockRecord;
  readonly verdict: Verdict;
  /** True when pins ask for fewer copies of it than before. */
  readonly isLowered: boolean;
}

export function verdictOn(
  record: Pick<BlockRecord, 'condemnedAtMs' | 'writtenAtMs'>,
  facts: {
    readonly mark: Mark;
    readonly isLeased: boolean;
    readonly nowMs: number;
    readonly graceMs: number;
  },
): Verdict {
  if (facts.mark.replicas > 0) return 'reached';
  if (facts.isLeased) return 'spared';
  if (record.condemnedAtMs > 0) return 'doomed';
  return facts.nowMs - record.writtenAtMs < facts.graceMs ? 'spared' : 'condemned';
}

/** Judges rows, and does what that means for them; a dry round changes nothing. */
export function createJudge(parts: StoreParts, alone: Alone) {
  const { table, leases, nowMs } = parts;

  return async (
    rows: readonly BlockRow[],
    round: { readonly marks: DigestMarks; readonly graceMs: number; readonly isDryRun: boolean },
  ): Promise<readonly Judgement[]> => {
    const judgeRow = ([digest, record]: BlockRow) => {
      const mark = round.marks.of(digest);
      if (mark === undefined) return [];
      const isLeased = leases.isHeld(digest);
      const facts = { mark, isLeased, nowMs: nowMs(), graceMs: round.graceMs };
      const verdict = verdictOn(record, facts);
      const isReached = verdict === 'reached';
      const isLowered = isReached && record.keep > mark.replicas;
      const changed = isReached
        ? recordAfterReach(record, mark)
        : verdict === 'condemned'
          ? recordAfterCondemning(record, nowMs())
          : undefined;
      return [{ digest, record, verdict, isLowered, changed }];
    };
    const foreseen = rows.flatMap(judgeRow);
    const isQuiet = foreseen.every((row) => row.changed === undefined && row.verdict !== 'doomed');
    if (round.isDryRun || isQuiet) return foreseen;
    return alone(async () => {
      // Anew: between the look above and our turn somebody may have come to count on a block.
      const judged = rows
        .map(([digest]) => [digest, table.find(digest)] as const)
        .flatMap(([digest, record]) => (record === undefined ? [] : judgeRow([digest, record])));
      const doomed = judged.filter(({ verdict }) => verdict === 'doomed');
      await removeBlocks(parts, digestsOf(doomed), 'swept');
      const put = judged.flatMap(({ digest, changed }) =>
        changed === undefined ? [] : [{ digest, record: changed }],
      );
      await table.write({ put }, { isFreeing: true });
      return judged;
    });
  };
}

const digestsOf = (judged: readonly { readonly digest: Digest }[]): Digest[] =>
  judged.map(({ digest }) => digest);
