/**
 * The owner of a swarm that is run on one machine. The first start of one makes the person that starts it its owner, with a
 * key in that person's home; later ones add peers that are new, by that key. Folders of before stay as they are: who
 * knows the swarm key belongs to their swarm, until shoal own.
 */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { openDataFolder } from '@shoal/chassis/data-folder';
import { openIdentity } from '@shoal/chassis/identity';
import { type KeyPair, readRosterFile, Roster, saveRoster } from '@shoal/chassis/roster';
import type { PeerId } from '@shoal/protocol';
import type { Context } from '../context.ts';
import { CommandFailure } from '../failure.ts';
import { addMember, beginRoster, describeRecovery } from './begin-roster.ts';
import { ensureOwnerKey, findOwnerKey } from './owner-key.ts';

/**
 * Puts a roster with all of them into the folders of peers.
 * @throws CommandFailure when one of them is no member, and no owner is here to add it
 */
export function ownRoster(dataDirs: readonly string[], context: Context): void {
  const roster = new Roster();
  for (const dataDir of dataDirs)
    roster.take(readRosterFile(dataDir).records(), { mayBegin: true });
  if (!roster.isClosed && dataDirs.some((dataDir) => existsSync(keyFileOf(dataDir)))) return;
  const peers = dataDirs.map((dataDir) => {
    openDataFolder(dataDir);
    return [basename(dataDir), openIdentity(keyFileOf(dataDir)).peerId] as const;
  });
  const recovery = roster.isClosed ? undefined : begin(roster, context);
  if (!roster.isClosed) return;
  const missing = peers.filter(
    ([, peerId]) => roster.hasMember(peerId) !== true && !roster.view.removed.has(peerId),
  );
  for (const [name, peerId] of peers)
    if (roster.view.removed.has(peerId))
      context.err(
        `shoal: ${name} was removed from this swarm, for good: its files are still in it, and no member talks to it\n`,
      );
  if (missing.length > 0) addAll(missing, roster, context);
  // Also to those that had one: the new ones are known to all when they start.
  if (missing.length > 0) for (const dataDir of dataDirs) saveRoster(dataDir, roster);
  if (recovery !== undefined) context.err(describeRecovery(recovery, ensureOwnerKey(context).file));
}

const keyFileOf = (dataDir: string): string => join(dataDir, 'identity.key');

/** Answers the recovery key; undefined where the person has no home to keep a key in. */
function begin(roster: Roster, context: Context): string | undefined {
  const owner = keyOf(context);
  if (owner === undefined) return undefined;
  const { genesis, recovery } = beginRoster(owner);
  roster.take([genesis], { mayBegin: true });
  return recovery;
}

function keyOf(context: Context): KeyPair | undefined {
  try {
    return ensureOwnerKey(context);
  } catch (error) {
    const { message } = error as Error;
    context.err(`shoal: no key of an owner can be kept, so this swarm has none: ${message}\n`);
    return undefined;
  }
}

function addAll(
  missing: readonly (readonly [name: string, PeerId])[],
  roster: Roster,
  context: Context,
): void {
  const { swarmId, owners } = roster.view;
  const owner = findOwnerKey(context);
  if (owner === undefined || swarmId === undefined || !owners.has(owner.id))
    throw new CommandFailure(
      `${missing.map(([name]) => name).join(', ')}: no member of this swarm, and the key of an owner is not here: start as many peers as before, or ask an owner for an invitation`,
    );
  roster.take(missing.map(([name, peerId]) => addMember(peerId, name, { swarm: swarmId, owner })));
}
