/** Shared by the commands about members: the roster of the peer that they ask, and changes of it. */
import { readFileSync } from 'node:fs';
import {
  type KeyPair,
  readRecord,
  recordIdOf,
  type RosterChange,
  signChange,
} from '@shoal/chassis/roster';
import {
  type KeyId,
  type PeerId,
  type RecordId,
  type RosterRecord,
  type RosterReply,
  rosterRoutes,
  STANDING_MAX,
} from '@shoal/protocol';
import type { Client } from './client.ts';
import type { Context } from '../context.ts';
import { CommandFailure, UsageError } from '../failure.ts';
import { readPath } from '../options.ts';
import { readOwnerKey, readRecoveryKey } from '../rights/owner-key.ts';

/** So much of an id's end tells members apart. */
const ID_END_CHARS_MIN = 6;

interface Stop {
  readonly signal: AbortSignal;
}

export type ClosedRoster = RosterReply & { readonly swarm: RecordId };

/** The roster of a swarm that has one. @throws CommandFailure where the swarm key decides */
export async function askRoster(client: Client, stop: Stop): Promise<ClosedRoster> {
  const roster = await client.call(rosterRoutes.show, {}, stop);
  if (roster.swarm !== undefined) return { ...roster, swarm: roster.swarm };
  throw new CommandFailure(
    'this swarm has no owner: who knows its key belongs to it. To give it one: shoal own --data-dir <of a peer that runs>',
  );
}

/** Signs changes and has them taken in. @throws CommandFailure with the reason of the first that was not */
export async function changeRoster(
  client: Client,
  { swarm }: Pick<ClosedRoster, 'swarm'>,
  { changes, by }: { readonly changes: readonly RosterChange[]; readonly by: KeyPair },
  stop: Stop,
): Promise<void> {
  const records = changes.map((change) => signChange(change, swarm, by));
  const { refused } = await client.call(rosterRoutes.change, { body: { records } }, stop);
  const [first] = refused;
  if (first !== undefined) throw new CommandFailure(`${first.record}: ${first.reason}`);
}

/** The records that a key signed, of the kinds named. @throws CommandFailure when they are more than a removal can let stand */
export async function signedBy(
  key: KeyId,
  kinds: readonly RosterRecord['kind'][] | 'all',
  { client, stop }: { readonly client: Client; readonly stop: Stop },
): Promise<{ readonly id: RecordId; readonly record: RosterRecord }[]> {
  const { records } = await client.call(rosterRoutes.records, {}, stop);
  const found = records.flatMap((signed) => {
    const record = readRecord(signed).checked?.record;
    const isMeant = record?.by === key && (kinds === 'all' || kinds.includes(record.kind));
    return isMeant ? [{ id: recordIdOf(signed), record }] : [];
  });
  if (found.length <= STANDING_MAX) return found;
  throw new CommandFailure(
    `it signed ${found.length} records, and a removal can let ${STANDING_MAX} stand`,
  );
}

/**
 * The key that signs: the person's, or with --recovery the one on paper.
 * @throws CommandFailure when there is none, or it has no right in this swarm
 */
export function signerOf(
  recovery: string | undefined,
  { owners, recovery: recoveryId }: ClosedRoster,
  context: Context,
): KeyPair {
  if (recovery !== undefined) {
    const key = readRecoveryKey(readRecovery(recovery, context));
    if (key.id === recoveryId) return key;
    throw new CommandFailure('that is the recovery key of another swarm');
  }
  const key = readOwnerKey(context);
  if (owners.some((owner) => owner.key === key.id)) return key;
  throw new CommandFailure(
    `your key, ${key.id}, is no owner of this swarm; one of its owners adds it: shoal owner add ${key.id}`,
  );
}

function readRecovery(path: string, context: Context): string {
  try {
    return readFileSync(path === '-' ? 0 : readPath(path, context), 'utf8');
  } catch (cause) {
    throw new UsageError(`--recovery: ${(cause as Error).message}`, { cause });
  }
}

export const RECOVERY_USAGE =
  '  --recovery F       sign with the recovery key in F (- for stdin) instead of your own';

/**
 * The member that a word means: its id, the end of its id as lists show it, or its name.
 * @throws CommandFailure when it is none, or more than one
 */
export function findMember(word: string, { members, removed }: RosterReply): PeerId {
  const end = word.replace(/^…/, '');
  const isEnd = end.length >= ID_END_CHARS_MIN;
  const found = members.filter(
    ({ peerId, name }) => peerId === word || name === word || (isEnd && peerId.endsWith(end)),
  );
  const [only] = found;
  if (only !== undefined && found.length === 1) return only.peerId;
  const isGone = removed.some(({ peerId }) => peerId === word || (isEnd && peerId.endsWith(end)));
  if (found.length === 0 && isGone) throw new CommandFailure(`${word} was removed already`);
  const what = found.length === 0 ? 'no member is called' : 'more than one member is called';
  throw new CommandFailure(`${what} "${word}"; shoal members lists them, by name and id`);
}

/** Refuses a number of words other than that. @throws UsageError */
export function exactly(words: readonly string[], names: readonly string[]): string[] {
  if (words.length === names.length) return [...words];
  throw new UsageError(`give ${names.join(' and ')}`);
}
