/** The events of a roster: what its owners did, told once each, by the one service that takes records in. */
import type { RosterView } from '@shoal/swarm';
import type { Roster } from '../roster/roster.ts';
import type { Audit, AuditNote } from './audit.ts';

/** Notes each change of the roster from now on. */
export function auditRoster(roster: Roster, audit: Audit): void {
  let before = roster.view;
  roster.onChange((view) => {
    for (const note of changesOf(before, view)) audit.note(note);
    before = view;
  });
}

/** All that is in one and not in the other. */
export function changesOf(before: RosterView, after: RosterView): AuditNote[] {
  const isNew = before.swarmId === undefined && after.swarmId !== undefined;
  return [
    ...(isNew ? [{ kind: 'swarm-closed' as const, subject: after.swarmId }] : []),
    ...memberChanges(before, after),
    ...owners('owner-added', before, after),
    ...owners('owner-removed', after, before),
    ...inviteChanges(before, after),
    ...[...after.revoked]
      .filter((token) => !before.revoked.has(token))
      .map((token): AuditNote => ({ kind: 'token-revoked', subject: token })),
  ];
}

const newIn = <K, V>(after: ReadonlyMap<K, V>, before: ReadonlyMap<K, V>): [K, V][] =>
  [...after].filter(([key]) => !before.has(key));

function memberChanges(before: RosterView, after: RosterView): AuditNote[] {
  return [
    ...[...after.members].flatMap(([subject, { name, addedBy: by }]): AuditNote[] => {
      const known = before.members.get(subject);
      if (known === undefined) return [{ kind: 'member-added', subject, name, by }];
      return known.name === name ? [] : [{ kind: 'member-renamed', subject, name }];
    }),
    ...newIn(after.removed, before.removed).map(([subject, { by, reason }]): AuditNote => {
      const name = before.members.get(subject)?.name;
      return { kind: 'member-removed', subject, name, by, detail: reason };
    }),
  ];
}

const owners = (
  kind: 'owner-added' | 'owner-removed',
  from: RosterView,
  to: RosterView,
): AuditNote[] =>
  newIn(to.owners, from.owners).map(([subject, { name }]) => ({ kind, subject, name }));

const inviteChanges = (before: RosterView, after: RosterView): AuditNote[] =>
  [...after.invites].flatMap(([subject, { by, isClosed }]): AuditNote[] => {
    const known = before.invites.get(subject);
    return [
      ...(known === undefined ? [{ kind: 'invite-made' as const, subject, by }] : []),
      ...(isClosed && known?.isClosed !== true
        ? [{ kind: 'invite-closed' as const, subject }]
        : []),
    ];
  });
