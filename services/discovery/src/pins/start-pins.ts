/** Puts the pins together: the set of them, what users do to it, and the loops that keep it whole. */
import type { Loops, PeerClient } from '@shoal/chassis';
import type { Events } from '@shoal/chassis/events';
import type { Producer } from '@shoal/chassis/queue';
import type { PeerId, Pin } from '@shoal/protocol';
import type { Join } from '../members/join.ts';
import type { Membership } from '../members/membership.ts';
import type { AskAll } from '../network/ask.ts';
import type { Twins } from '../twins/twins.ts';
import { ChangedPins } from './changed-pins.ts';
import { Compared } from './compared.ts';
import { startExpiry } from './expiry.ts';
import type { WallTimeOf } from '../wall-time.ts';
import { createPinAges } from './pin-ages.ts';
import { PinEditor } from './pin-editor.ts';
import type { PinReader } from './pin-reader.ts';
import { Reread } from './reread.ts';
import { startPinSync } from './pin-sync.ts';
import { Pins, type PinsDeps } from './pins.ts';
import { startSettleRequests } from './settle-requests.ts';
import { TokenUse } from './token-use.ts';

export interface StartPinsDeps extends Omit<
  PinsDeps,
  'compared' | 'changed' | 'checkName' | 'onChange' | 'tokenUse'
> {
  readonly membership: Pick<Membership, 'others'>;
  readonly join: Pick<Join, 'mayBeMore'>;
  readonly twins: Pick<Twins, 'check'>;
  readonly reader: PinReader;
  readonly ask: AskAll;
  readonly client: PeerClient;
  readonly events: Pick<Events, 'publish'>;
  readonly producer: Pick<Producer<'settle'>, 'add'>;
  /** How long a deleted file can be brought back. */
  readonly undeleteMs: number;
  /** Monotonic. */
  readonly clock: () => number;
  readonly wallTimeOf: WallTimeOf;
  readonly loops: Loops;
}

export function startPins(deps: StartPinsDeps, stack: AsyncDisposableStack) {
  const { store, wire, events, clock, wallTimeOf, loops } = deps;
  const settleRequests = stack.use(startSettleRequests(deps));
  const ages = createPinAges({ clock, wallClock: Date.now, wallTimeOf });
  const compared = new Compared({
    wire,
    others: () => deps.membership.others(),
    isClockUsable: () => deps.ownClock.verdict() !== 'wrong',
    mayBeMore: () => deps.join.mayBeMore(),
  });
  const changed = stack.use(new ChangedPins(deps));
  void changed.tell();
  const tokenUse = new TokenUse();
  const common = { ...deps, tokenUse, compared, changed, checkName: () => deps.twins.check() };
  const pins = new Pins({
    ...common,
    onChange: (pin, old, { isForRoom, isCurrent }) => {
      ages.note(pin.root, isCurrent);
      settleRequests.add(pin.root);
      events.publish(changeOf(pin, old, isForRoom));
    },
  });
  const reread = new Reread({ ...common, pins });
  const nameOf = (peerId: PeerId) => deps.roster.view.members.get(peerId)?.name;
  const editor = new PinEditor({ ...common, pins, nameOf });
  stack.use(startPinSync({ ...common, pins }, loops));
  stack.use(
    startExpiry({
      ...deps,
      store,
      onTurn: (root) => {
        pins.count();
        pins.noteTokens(root);
        settleRequests.add(root);
      },
      onPurge: (pin) => events.publish(purgeOf(pin, false)),
      reread: (turn) => reread.run(turn),
    }),
  );
  return { ages, compared, pins, editor, tokenUse };
}

/** The event for a pin that was made or came in. */
function changeOf(pin: Pin, old: Pin | undefined, isForRoom: boolean) {
  const about = { atMs: Date.now(), cid: pin.root, name: pin.name };
  if (!pin.deleted) return { kind: 'pin', ...about } as const;
  if (old?.deleted === true) return purgeOf(pin, isForRoom);
  return { kind: 'deleted', ...about } as const;
}

const purgeOf = ({ root: cid, name }: Pin, isForRoom: boolean) =>
  ({ kind: 'purged', atMs: Date.now(), cid, name, isForRoom }) as const;
