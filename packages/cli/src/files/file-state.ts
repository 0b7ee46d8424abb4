/** The state of a file, and why, in words for a person. */
import type { FileCause, FileState } from '@shoal/protocol';
import { visibleName } from '@shoal/protocol';
import type { Context } from '../context.ts';
import { formatMoment, plural, shortPeerId } from '../terminal/format.ts';

/** The fields on copies that every answer about a file has. */
export interface Stood {
  readonly state: FileState;
  readonly copies: number;
  readonly replicas: number;
  readonly causes: readonly FileCause[];
  readonly verifiedAtMs?: number | undefined;
}

/** `reduced, 2 of 3 copies`. */
export function standingText({ state, copies, replicas }: Stood): string {
  return `${state}, ${copies} of ${replicas} copies`;
}

/** Why there are fewer copies than asked for, and what comes next; empty when there is nothing to say. */
export function whyText({ causes, replicas, verifiedAtMs }: Stood, nowMs: number): string {
  return causes
    .map((cause) => {
      switch (cause.kind) {
        case 'new':
          return 'its copies are being made';
        case 'away':
          return `${who(cause)} away; new copies from ${formatMoment(cause.repairFromMs, nowMs)} if that stays so`;
        case 'gone':
          return `${who(cause)} gone; new copies are being made`;
        case 'unproved':
          return `${peersOf(cause)} could not prove the copies ${cause.count === 1 ? 'it says it holds' : 'they say they hold'}; new copies are being made`;
        case 'few-peers':
          return `${plural(cause.count, 'peer')} can take copies, and it asks for ${replicas}`;
        case 'joining':
          return 'the peer was started a moment ago, and has not heard from the others yet';
        case 'aside':
          return `the peer stands aside, since another process runs under its identity, at ${cause.gateway}; ask there`;
        case 'unanswered': {
          const date =
            verifiedAtMs === undefined
              ? 'nothing is known of its copies yet'
              : `copies as of ${formatMoment(verifiedAtMs, nowMs)}`;
          return `no answer from ${peersOf(cause)}; ${date}`;
        }
      }
    })
    .join('; ');
}

/**
 * Says that fewer copies can be kept than were just asked for, also to a script: without that a command that did not
 * do all of its task looks as if it had. A person who watches reads the whole state, which says it too.
 */
export function sayShortage(file: Stood & { readonly name: string }, context: Context): void {
  const causes = file.causes.filter(({ kind }) => kind === 'few-peers');
  if (causes.length === 0 || context.isWatched) return;
  const why = whyText({ ...file, causes }, Date.now());
  context.err(`shoal: ${visibleName(file.name)}: ${why}\n`);
}

function peersOf({ peers: [first], count }: { peers: readonly string[]; count: number }): string {
  return count === 1 && first !== undefined ? shortPeerId(first) : plural(count, 'peer');
}

function who({ peers: [first], count }: { peers: readonly string[]; count: number }): string {
  return count === 1 && first !== undefined
    ? `${shortPeerId(first)} is`
    : `${plural(count, 'peer')} are`;
}
