/**
 * Letting a machine in by an invitation. The inviter alone decides, by its own clock, and counts the uses; what it
 * lets in it countersigns, so that every peer can check that, and so that it falls when the inviter does.
 */
import {
  createInviteSecret,
  keyPairOfInvite,
  privateKeyOf,
  type RecordDraft,
  signRecord,
  writeInviteCode,
} from '@shoal/chassis';
import {
  hostPort,
  JOIN_SEEDS_MAX,
  type JoinReply,
  type KeyId,
  type Member,
  type PeerId,
  type RecordId,
  RosterRefused,
} from '@shoal/protocol';
import type { Invite } from '@shoal/swarm';
import { encode } from 'uqr';
import { hostOf } from '../network/addresses.ts';
import type { RosterSync } from './roster-sync.ts';
import type { RosterKeeper } from './roster-keeper.ts';

/** Light modules around a QR code (ISO/IEC 18004). */
const QR_MARGIN = 4;

export interface AdmitDeps {
  readonly self: PeerId;
  readonly privateKeyRaw: Uint8Array;
  readonly swarmKey: Uint8Array;
  readonly keeper: RosterKeeper;
  readonly rosterSync: RosterSync;
  /** Ourselves first. */
  readonly members: () => readonly Member[];
  readonly nowMs: () => number;
}

export class Admit {
  readonly #deps: AdmitDeps;

  constructor(deps: AdmitDeps) {
    this.#deps = deps;
  }

  /** The swarm that invitations are for. @throws RosterRefused where there is none to join by invitation */
  swarm(): RecordId {
    const { swarmId } = this.#deps.keeper.roster.view;
    if (swarmId !== undefined) return swarmId;
    throw new RosterRefused({
      reason:
        'this swarm has no owner: who knows its key belongs to it (give the key, or close the swarm by shoal own)',
    });
  }

  /** Makes an invitation in this peer's name. @throws RosterRefused where no owner let it */
  invite({ forMs, uses }: { readonly forMs: number; readonly uses: number }) {
    const { self, keeper } = this.#deps;
    const swarm = this.swarm();
    if (keeper.roster.view.members.get(self)?.mayInvite !== true)
      throw new RosterRefused({
        reason: 'this peer may not invite; an owner does it by shoal invite',
      });
    const secret = createInviteSecret();
    const { id: key } = keyPairOfInvite(secret);
    const expiresAtMs = this.#deps.nowMs() + forMs;
    const terms = { key, inviter: self, uses, expiresAtMs, mayChange: 'own' } as const;
    this.#sign({ kind: 'invite', swarm, atMs: this.#deps.nowMs(), ...terms });
    const addresses = [this.#own().http.discovery];
    const places = addresses.map((origin) => new URL(origin).host);
    const code = writeInviteCode({ inviter: self, secret, expiresAtMs, addresses: places });
    return { code, key, expiresAtMs, uses, addresses, qr: qrOf(code) };
  }

  /** Lets in a peer that has an invitation. @throws RosterRefused that says why not */
  join(
    peerId: PeerId,
    { invite: key, proof, name }: { invite: KeyId; proof: string; name?: string | undefined },
  ): JoinReply {
    const { keeper, swarmKey } = this.#deps;
    const swarm = this.swarm();
    const { view } = keeper.roster;
    const invite = view.invites.get(key);
    if (invite === undefined || !this.#hasUsed(invite, peerId)) {
      const use = this.#useOf(invite);
      const named = name === undefined ? {} : { name: this.#freeName(name) };
      const join = { swarm, atMs: this.#deps.nowMs(), invite: key, use, peerId, ...named, proof };
      this.#sign({ kind: 'join', ...join });
    }
    const records = keeper.roster.records();
    return { records, swarmKey: Buffer.from(swarmKey).toString('hex'), seeds: this.#seeds() };
  }

  /** Whether it joined by this very invitation before, and asks again. */
  #hasUsed({ key }: Invite, peerId: PeerId): boolean {
    const all = [...this.#deps.keeper.roster.checked()];
    return all.some(
      ({ record }) => record.kind === 'join' && record.peerId === peerId && record.invite === key,
    );
  }

  /** The number of the next use. */
  #useOf(invite: Invite | undefined): number {
    const { self, nowMs } = this.#deps;
    const no = (reason: string) => new RosterRefused({ reason });
    if (invite === undefined) throw no('this invitation is not known here, or it was withdrawn');
    if (invite.inviter !== self) throw no('this invitation is of another peer');
    if (invite.isClosed) throw no('this invitation was withdrawn');
    if (nowMs() >= invite.expiresAtMs)
      throw no(
        'this invitation has expired by the clock of the peer that invited; ask for another',
      );
    for (let use = 1; use <= invite.uses; use += 1) if (!invite.used.has(use)) return use;
    throw no('this invitation was used as often as it may be; ask for another');
  }

  #sign(draft: RecordDraft): void {
    const { self, privateKeyRaw, rosterSync } = this.#deps;
    const signed = signRecord(draft, { id: self, privateKey: privateKeyOf(privateKeyRaw) });
    const [refused] = rosterSync.take([signed]).refused;
    if (refused !== undefined) throw new RosterRefused({ reason: refused.reason });
  }

  /** Of two machines with one name the second gets a number. */
  #freeName(name: string): string {
    const taken = new Set(
      [...this.#deps.keeper.roster.view.members.values()].map((member) => member.name),
    );
    for (let number = 2, free = name; ; number += 1) {
      if (!taken.has(free)) return free;
      free = `${name.slice(0, 58)}-${number}`;
    }
  }

  #own(): Member {
    const own = this.#deps.members().find(({ isSelf }) => isSelf);
    if (own === undefined) throw new Error('this peer is among its members');
    return own;
  }

  #seeds(): string[] {
    const up = this.#deps.members().filter(({ state }) => state === 'alive');
    const places = up.flatMap(({ libp2p }) => libp2p.map(hostOf));
    return places
      .flatMap((place) => (place === undefined ? [] : [hostPort(place.host, place.port)]))
      .slice(0, JOIN_SEEDS_MAX);
  }
}

/** Dark modules as squares of one unit. */
function qrOf(text: string): { readonly size: number; readonly path: string } {
  const { data, size } = encode(text, { border: QR_MARGIN });
  const squares = data.flatMap((row, y) =>
    row.flatMap((isDark, x) => (isDark ? [`M${x} ${y}h1v1h-1z`] : [])),
  );
  return { size, path: squares.join('') };
}
