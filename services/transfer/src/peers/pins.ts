/**
 * Pins, as our own discovery knows them. Which one is meant differs by who asks: a reader of a file has
 * others asked as well and waits for a discovery that restarts; a request below `/ipfs/` goes on without a pin
 * when there is none; settling also wants those of deleted files that can be brought back.
 */
import { Gather, type Log, orAborted, type PeerClient } from '@shoal/chassis';
import {
  type Cid,
  discoveryRoutes,
  FileGone,
  type FileHash,
  isFileMissing,
  type Pin,
  PINS_PER_CALL_MAX,
  ServiceUnavailable,
} from '@shoal/protocol';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PinCache } from './pin-cache.ts';

/** A discovery service that crashed is back within seconds: a reader waits rather than fails. */
const AWAY_MAX_MS = 6000;
const RETRY_DELAY_MS = 200;
const PINS_PER_PAGE = 1000;
/** Longest wait of a look-up for others while some are under way. Past it: it is asked with those that came. */
const LOOKUPS_WAIT_MAX_MS = 20;
/** Questions under way at once. Past it: look-ups wait for one. */
const LOOKUPS_MAX = 2;

export interface PinPage {
  readonly pins: readonly Pin[];
  /** Where the next page begins; undefined at the end. */
  readonly next: string | undefined;
  /** False while pins of others may be unknown here. */
  readonly isCurrent: boolean;
}

/** The pins of files that clients want to read; those that are asked for at one moment are one question. */
export class PinLookups {
  readonly #client: PeerClient;
  readonly #cache: PinCache;
  readonly #known: Gather<FileHash, Pin | null>;

  /** @param signal Ends the questions. */
  constructor(
    { client, cache }: { readonly client: PeerClient; readonly cache: PinCache },
    { signal }: { signal: AbortSignal },
  ) {
    this.#client = client;
    this.#cache = cache;
    this.#known = new Gather((hashes) => findNoted(hashes, { client, cache }, { signal }), {
      itemsMax: PINS_PER_CALL_MAX,
      sizeMaxBytes: Infinity,
      sizeOf: () => 0,
      waitMaxMs: LOOKUPS_WAIT_MAX_MS,
      batchesMax: LOOKUPS_MAX,
    });
  }

  /**
   * The pin of a file: as it is known here, else as others know it.
   * @throws FileNotFound, FileGone; ServiceUnavailable when our discovery stays away.
   */
  async find(hash: FileHash, { signal }: { signal: AbortSignal }): Promise<Pin> {
    const remembered = this.#cache.find(hash);
    if (remembered !== undefined) return remembered;
    return untilThere(
      async () => {
        const known = await orAborted(this.#known.add(hash), signal);
        if (known !== null && !known.deleted) return known;
        return getPin(hash, {}, this.#client, { signal });
      },
      { signal },
    );
  }
}

/** Asks again while our discovery is away, for a while. */
async function untilThere<T>(
  ask: () => Promise<T>,
  { signal }: { signal: AbortSignal },
): Promise<T> {
  const startedAtMs = performance.now();
  for (;;)
    try {
      return await ask();
    } catch (error) {
      signal.throwIfAborted();
      const isAway = error instanceof ServiceUnavailable;
      if (!isAway || performance.now() - startedAtMs > AWAY_MAX_MS) throw error;
      await sleep(RETRY_DELAY_MS, undefined, { signal });
    }
}

/**
 * The pin of a root that is read below `/ipfs/`; undefined without one, and when discovery does not answer.
 * @throws FileGone while the file could be brought back: its blocks are still here for that, not to be read.
 */
export async function pinIfKnown(
  root: Cid,
  { client, log }: { readonly client: PeerClient; readonly log: Log },
  { signal }: { signal: AbortSignal },
): Promise<Pin | undefined> {
  try {
    return await getPin(root, { ask: 'false' }, client, { signal });
  } catch (err) {
    signal.throwIfAborted();
    if (err instanceof FileGone && err.fields.purgeAt !== undefined) throw err;
    // Without its pin a DAG is walked, which takes longer and gives the same.
    if (!isFileMissing(err)) log.debug({ err, root }, 'pin not looked up');
    return undefined;
  }
}

/** That a file was deleted, when that is why it is not here; undefined also when discovery does not answer. */
export async function whyGone(
  root: Cid,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<InstanceType<typeof FileGone> | undefined> {
  try {
    await getPin(root, { ask: 'false' }, client, { signal });
    return undefined;
  } catch (error) {
    return error instanceof FileGone ? error : undefined;
  }
}

/** The pin that a file is settled for, perhaps a deleted one that can be brought back; undefined without one. */
export async function pinToSettle(
  root: Cid,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<Pin | undefined> {
  try {
    return await getPin(root, { ask: 'false', deleted: 'true' }, client, { signal });
  } catch (error) {
    if (isFileMissing(error)) return undefined;
    throw error;
  }
}

/** The same of several; those without one are left out. @throws ServiceUnavailable */
export async function pinsToSettle(
  roots: readonly Cid[],
  deps: { readonly client: PeerClient; readonly cache: PinCache },
  { signal }: { signal: AbortSignal },
): Promise<readonly Pin[]> {
  const pins = await findNoted(roots, deps, { signal });
  return pins.filter((pin) => pin !== null);
}

/** The pins of these as discovery knows them, cached from now on. @throws ServiceUnavailable */
async function findNoted(
  hashes: readonly FileHash[],
  { client, cache }: { readonly client: PeerClient; readonly cache: PinCache },
  { signal }: { signal: AbortSignal },
): Promise<readonly (Pin | null)[]> {
  const { turn } = cache;
  const args = { body: { hashes: [...hashes] } };
  const target = client.own('discovery');
  const { pins } = await client.call(target, discoveryRoutes.findPins, args, { signal });
  cache.note(pins, turn);
  return pins;
}

/** One page of the live pins, and those of deleted files that can be brought back, in the order of their roots. */
export async function listPins(
  after: string,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<PinPage> {
  const args = { query: { after, limit: PINS_PER_PAGE, deleted: 'true' } } as const;
  const target = client.own('discovery');
  const { pins, next, isCurrent } = await client.call(target, discoveryRoutes.listPins, args, {
    signal,
  });
  return { pins, next, isCurrent };
}

/** All pages. */
export async function* eachPinPage(
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): AsyncGenerator<PinPage, void, undefined> {
  for (let after: string | undefined = ''; after !== undefined;) {
    const page: PinPage = await listPins(after, client, { signal });
    yield page;
    after = page.next;
  }
}

/** @throws FileNotFound, FileGone, ServiceUnavailable */
function getPin(
  hash: FileHash,
  query: { readonly ask?: 'false'; readonly deleted?: 'true' },
  client: PeerClient,
  options: { signal: AbortSignal },
): Promise<Pin> {
  const args = { params: { hash }, query };
  return client.call(client.own('discovery'), discoveryRoutes.getPin, args, options);
}
