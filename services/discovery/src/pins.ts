/**
 * The pins of the swarm, all of them on every member. A new one is on disk here before anybody hears
 * of it; then it is broadcast, and pushed to those we are connected to, because a broadcast may find a
 * mesh that is still forming. What a peer missed it gets by anti-entropy (`pin-sync.ts`).
 */
import type { Log } from '@shoal/chassis';
import {
  type Cid,
  FileNotFound,
  type FileHash,
  type PeerId,
  type Pin,
  type PinDraft,
} from '@shoal/protocol';
import { comparePins, createPinDigest, isLive, nextPin, type PinDigest } from '@shoal/swarm';
import type { AskAll } from './ask.ts';
import { PINS_PER_MESSAGE_MAX } from './messages.ts';
import type { Metrics } from './metrics.ts';
import { isAuthentic, peek, Signed, type Signer } from './signed.ts';
import type { State } from './state.ts';
import type { Wire } from './wire.ts';

/** Longest search for a pin that is unknown here. */
const SEARCH_TIMEOUT_MS = 1500;

export interface Pins {
  readonly digest: PinDigest;
  /** Makes a pin of a wish: signed, durable, on its way to all members. */
  put(draft: PinDraft): Promise<Pin>;
  /** Takes in a pin from another peer; true when it was news. */
  merge(signed: Signed): Promise<boolean>;
  /** The live pin of a file as known here. */
  find(hash: FileHash): Pin | undefined;
  /** The same as it was signed, tombstones left out. */
  findSigned(hash: FileHash): Signed | undefined;
  /**
   * The live pin of a file; asks the other members when it is not known here.
   * @throws FileNotFound
   */
  search(hash: FileHash, options: { ask: boolean; signal: AbortSignal }): Promise<Pin>;
  /** Live pins in the order of their roots. */
  page(after: string, limit: number): { pins: Pin[]; next?: string };
  newest(offset: number, limit: number): { total: number; pins: Pin[] };
}

export function createPins(deps: {
  readonly self: PeerId;
  readonly state: State;
  readonly signer: Signer;
  readonly wire: Wire;
  readonly ask: () => AskAll;
  readonly onChange: (pin: Pin) => void;
  readonly metrics: Metrics;
  readonly log: Log;
}): Pins {
  const { self, state, signer, wire, onChange, metrics, log } = deps;
  const digest = createPinDigest();
  for (const { pin } of state.pinsAfter('')) digest.toggle(pin);
  metrics.pins.set(state.countPins());

  const changed = (old: Pin | undefined, pin: Pin): void => {
    if (old !== undefined) digest.toggle(old);
    digest.toggle(pin);
    metrics.pins.set(state.countPins());
    onChange(pin);
  };
  const merge = async (signed: Signed): Promise<boolean> => {
    const pin = peek('pin', signed);
    if (pin === undefined) {
      metrics.pinMerges.inc({ outcome: 'malformed' });
      return false;
    }
    const known = state.getPin(pin.root);
    if (known !== undefined && comparePins(pin, known.pin) <= 0) {
      metrics.pinMerges.inc({ outcome: 'known' });
      return false;
    }
    if (!isAuthentic('pin', pin, signed)) {
      metrics.pinMerges.inc({ outcome: 'refused' });
      return false;
    }
    let isNews = false;
    const { old } = await state.updatePin(pin.root, (now) => {
      isNews = now === undefined || comparePins(pin, now.pin) > 0;
      return isNews ? { pin, signed } : undefined;
    });
    metrics.pinMerges.inc({ outcome: isNews ? 'merged' : 'known' });
    if (isNews) changed(old?.pin, pin);
    return isNews;
  };
  const findStored = (hash: FileHash) => {
    const nowMs = Date.now();
    const roots: Cid[] = isCid(hash) ? [hash] : state.rootsBySha256(hash);
    return roots
      .map((root) => state.getPin(root))
      .filter((stored) => stored !== undefined && isLive(stored.pin, nowMs))
      .toSorted((a, b) => Number(b?.pin.clock) - Number(a?.pin.clock))[0];
  };

  wire.listen('pins', Signed, (_, signed) => {
    merge(signed).catch((err: unknown) => log.error({ err }, 'pin not stored'));
  });
  wire.handle('pins-put', async (_, { pins }) => {
    for (const signed of pins) await merge(signed);
    return {};
  });
  wire.handle('pins-get', (_, { roots }) => {
    const found = roots.slice(0, PINS_PER_MESSAGE_MAX).map((root) => state.getPin(root)?.signed);
    return { pins: found.filter((signed) => signed !== undefined) };
  });

  return {
    digest,
    merge,
    find: (hash) => findStored(hash)?.pin,
    findSigned: (hash) => findStored(hash)?.signed,
    async put(draft) {
      const { old, now } = await state.updatePin(draft.root, (stored) => {
        const pin = nextPin(draft, stored?.pin, { nowMs: Date.now(), origin: self });
        return { pin, signed: signer.sign('pin', pin) };
      });
      if (now === undefined) throw new Error('the pin was not stored');
      metrics.pinMerges.inc({ outcome: 'made' });
      changed(old?.pin, now.pin);
      wire.broadcast('pins', now.signed);
      for (const peerId of wire.engine().connected())
        wire.request(peerId, { kind: 'pins-put', pins: [now.signed] }).catch(() => {
          metrics.messages.inc({ kind: 'pins-put', outcome: 'failed' }); // anti-entropy brings it
        });
      return now.pin;
    },
    async search(hash, { ask, signal }) {
      const known = findStored(hash)?.pin;
      if (known !== undefined) return known;
      if (!ask) throw new FileNotFound({ hash, peersAsked: 0 });
      const { asked, answers } = await deps.ask()(
        { kind: 'pin', hash },
        {
          timeoutMs: SEARCH_TIMEOUT_MS,
          isEnough: (given) => [...given.values()].some(({ pin }) => pin !== undefined),
          signal,
        },
      );
      for (const { pin } of answers.values()) if (pin !== undefined) await merge(pin);
      const found = findStored(hash)?.pin;
      if (found === undefined) throw new FileNotFound({ hash, peersAsked: asked });
      return found;
    },
    page(after, limit) {
      const pins: Pin[] = [];
      const nowMs = Date.now();
      for (const { pin } of state.pinsAfter(after)) {
        if (!isLive(pin, nowMs)) continue;
        if (pins.length === limit) return { pins, next: pins.at(-1)?.root ?? '' };
        pins.push(pin);
      }
      return { pins };
    },
    newest(offset, limit) {
      const stored = state.newestRoots(offset, limit).map((root) => state.getPin(root)?.pin);
      return { total: state.countPins(), pins: stored.filter((pin) => pin !== undefined) };
    },
  };
}

function isCid(hash: FileHash): hash is Cid {
  return hash.startsWith('b') && hash.length === 59;
}
