/** The HTTP face of discovery: every route of the contract, each a line over its mechanism. */
import assert from 'node:assert';
import {
  type Audit,
  callerOf,
  type CallerRequest,
  checkAuthor,
  checkChange,
  checkHash,
  type ConditionalRequest,
  mount,
  type Mounting,
  type Roster,
  tokenKeyIn,
  type TokenRequest,
} from '@shoal/chassis';
import {
  type AuditKind,
  type ClockReport,
  discoveryRoutes,
  type FileEntry,
  type FileHash,
  type Member,
  type Pin,
  type PinChange,
  REPLICAS_DEFAULT,
  RequestInvalid,
} from '@shoal/protocol';
import { describeSurvival, type PinEdit, spreadOf, survivalOf } from '@shoal/swarm';
import type { Announce } from './holders/announce.ts';
import { type Health, onlyUp } from './health/health.ts';
import type { Holders } from './holders/holders.ts';
import type { Membership } from './members/membership.ts';
import type { Opinions } from './trust/opinions.ts';
import type { OwnClock } from './members/own-clock.ts';
import type { Compared } from './pins/compared.ts';
import type { PinEditor } from './pins/pin-editor.ts';
import type { PinReader } from './pins/pin-reader.ts';
import type { Pins } from './pins/pins.ts';
import type { TokenUse } from './pins/token-use.ts';
import type { Twins } from './twins/twins.ts';
import type { Want } from './holders/want.ts';

export function mountRoutes(
  mounting: Mounting,
  deps: {
    readonly membership: Membership;
    readonly pins: Pins;
    readonly reader: PinReader;
    readonly editor: PinEditor;
    readonly compared: Compared;
    readonly want: Want;
    readonly announcing: Announce;
    readonly holders: Holders;
    readonly health: Health;
    readonly ownClock: OwnClock;
    readonly opinions: Opinions;
    readonly twins: Twins;
    readonly roster: Pick<Roster, 'view'>;
    /** Why lists may lack files. */
    readonly whyIncomplete: () => string | undefined;
    readonly tokenUse: Pick<TokenUse, 'of'>;
    readonly audit: Audit;
    /** Durable and announced to all members once resolved. */
    readonly setDraining: (isDraining: boolean) => Promise<void>;
    /** How long blocks that an ended pin reached are kept. */
    readonly expirySlackMs: number;
  },
): void {
  const { membership, pins, reader, editor, compared, want, announcing, holders, health } = deps;
  const clock = (): ClockReport => {
    const aheadMs = deps.ownClock.aheadMs();
    const isWrong = deps.ownClock.verdict() === 'wrong';
    return { ...(aheadMs === undefined ? {} : { aheadMs }), isWrong };
  };
  const twin = () => {
    const report = deps.twins.report();
    return report === undefined ? {} : { twin: report };
  };
  const { self } = mounting;
  const removed = () => {
    const removal = deps.roster.view.removed.get(self);
    if (removal === undefined) return {};
    const { by, atMs, reason } = removal;
    return { removed: { by, atMs, ...(reason === undefined ? {} : { reason }) } };
  };
  const inspectOne = async (pin: Pin, signal: AbortSignal): Promise<FileEntry> => {
    const [entry] = await health.inspect([pin], signal);
    assert(entry !== undefined, 'one file inspected is one answer');
    return entry;
  };

  mount(mounting, discoveryRoutes.listPeers, async () => {
    const peers = membership.list();
    return { self, ...survivalIn(peers), clock: clock(), ...twin(), ...removed(), peers };
  });
  mount(mounting, discoveryRoutes.members, async ({ query, signal }) => {
    await membership.changed(query.after, query.waitMs, signal);
    const members = membership.list();
    return { version: membership.version(), clock: clock(), ...twin(), ...removed(), members };
  });
  mount(mounting, discoveryRoutes.meet, async ({ body: { nonce, record }, caller }) => {
    if (caller === self) membership.learn([{ signed: record, ageMs: 0 }], caller);
    return membership.introduce(nonce);
  });
  mount(mounting, discoveryRoutes.listFiles, async ({ query, request, signal }) => {
    refuseOffset(request);
    const incomplete = deps.whyIncomplete();
    const list = query.deleted ? health.listDeleted(query, signal) : health.list(query, signal);
    return { ...(await list), ...(incomplete === undefined ? {} : { incomplete }) };
  });
  mount(mounting, discoveryRoutes.fileHealth, async ({ params, request, signal }) => {
    await checkHash(request, params.hash, (root) => reader.findAny(root));
    return health.examine(params.hash, signal);
  });
  const noteFile = (kind: AuditKind, pin: Pin, request: CallerRequest, detail?: string): void =>
    deps.audit.note({ kind, ...callerOf(request), cid: pin.root, name: pin.name, detail });
  /** The token that a change is made with, if it may change this file. @throws RightMissing, FileNotFound, FileGone */
  const checkMay = async (
    request: TokenRequest & { readonly headers: { readonly authorization?: string | undefined } },
    hash: FileHash,
    { signal }: { signal: AbortSignal },
  ) => {
    await checkHash(request, hash, (root) => reader.findAny(root));
    const token = tokenKeyIn(request.headers.authorization);
    if (request.token === undefined || request.token.may.has('delete')) return { token };
    checkAuthor(request, await editor.search(hash, { ask: true, orDeleted: true, signal }));
    return { token, putWith: request.token.id };
  };
  /** A file has one ETag, its CID, whichever hash names it. */
  const checkFile = (request: ConditionalRequest, hash: FileHash): void => {
    const pin = reader.findAny(hash);
    checkChange(request, pin === undefined ? [] : [`"${pin.root}"`]);
  };
  mount(mounting, discoveryRoutes.changeFile, async ({ params, body, request, signal }) => {
    const may = await checkMay(request, params.hash, { signal });
    checkFile(request, params.hash);
    const pin = await editor.change(params.hash, readChange(body, Date.now()), {
      signal,
      ...may,
    });
    noteFile('file-changed', pin, request, Object.keys(body).join(', '));
    return inspectOne(pin, signal);
  });
  mount(mounting, discoveryRoutes.removeFile, async ({ params, query, request, signal }) => {
    const may = await checkMay(request, params.hash, { signal });
    checkFile(request, params.hash);
    const removed = await editor.remove(params.hash, {
      isForGood: query.now,
      signal,
      ...may,
    });
    noteFile('file-deleted', removed.pin, request, query.now ? 'for good' : undefined);
    const { pin, deletedAtMs = Date.now(), purgeAtMs, keptBy } = removed;
    const kept = keptBy.length === 0 ? {} : { keptBy: [...keptBy] };
    return { cid: pin.root, name: pin.name, deletedAtMs, purgeAtMs, ...kept };
  });
  mount(mounting, discoveryRoutes.undeleteFile, async ({ params, request, signal }) => {
    const may = await checkMay(request, params.hash, { signal });
    const pin = await editor.undelete(params.hash, { signal, ...may });
    noteFile('file-undeleted', pin, request);
    return inspectOne(pin, signal);
  });
  mount(mounting, discoveryRoutes.listPurgeable, async ({ query }) => ({
    roots: reader.purgeable(query.limit),
  }));
  mount(mounting, discoveryRoutes.purgeForRoom, async ({ body }) => ({
    purged: await editor.purgeForRoom(body.roots),
  }));
  mount(mounting, discoveryRoutes.copies, async ({ body: { roots }, signal }) => {
    const live = [...new Set(roots)].map((root) => reader.findAny(root));
    const entries = await health.inspect(
      live.filter((pin) => pin !== undefined),
      signal,
    );
    const copies = new Map(entries.map((entry) => [entry.cid, entry.copies]));
    return { files: roots.map((cid) => ({ cid, copies: copies.get(cid) })) };
  });
  mount(mounting, discoveryRoutes.noteProofs, async ({ body: { reports } }) => {
    for (const { peerId, proved, failed, unanswered } of reports)
      if (membership.table.get(peerId) !== undefined)
        deps.opinions.note(peerId, { proved, failed, unanswered });
    return {};
  });
  mount(mounting, discoveryRoutes.setDraining, async ({ body }) => {
    await deps.setDraining(body.isDraining);
    return {};
  });
  mount(mounting, discoveryRoutes.putPins, async ({ body }) => ({
    pins: await pins.put(body.drafts),
  }));
  mount(mounting, discoveryRoutes.findPins, async ({ body: { hashes } }) => ({
    pins: hashes.map((hash) => reader.findAny(hash) ?? null),
  }));
  mount(mounting, discoveryRoutes.tokenUse, async ({ params }) => ({
    usedBytes: deps.tokenUse.of(params.token),
  }));
  mount(mounting, discoveryRoutes.getPin, ({ params, query, signal }) =>
    editor.search(params.hash, { ask: query.ask, orDeleted: query.deleted, signal }),
  );
  mount(mounting, discoveryRoutes.listPins, async ({ query }) => ({
    ...reader.page(query.after, query.limit, {
      endedForMs: query.justExpired ? deps.expirySlackMs : 0,
      orDeleted: query.deleted,
    }),
    isCurrent: compared.isCurrent(),
  }));
  mount(mounting, discoveryRoutes.want, async ({ body: { roots, enough, timeoutMs }, signal }) => {
    const { asked, answers } = await want(roots, { enough, timeoutMs, signal });
    const known = new Set(membership.list().map(({ peerId }) => peerId));
    return { asked, answers: answers.filter(({ peerId }) => known.has(peerId)) };
  });
  mount(mounting, discoveryRoutes.announce, async ({ body }) => {
    await announcing.announce(body.roots);
    return {};
  });
  mount(mounting, discoveryRoutes.holders, async ({ params }) => {
    const answers = onlyUp(holders.of(params.cid), membership.list());
    return { answers: answers.filter(({ peerId }) => peerId !== self) };
  });
}

/**
 * A page by its number leaves files out when one before it is deleted, and gives some twice when one comes.
 * Passed over, an `offset` would give the first page again and again. @throws RequestInvalid
 */
function refuseOffset({ query }: { readonly query: unknown }): void {
  if (Object.hasOwn(Object(query) as object, 'offset'))
    throw new RequestInvalid({
      reason:
        'query offset: pages have no numbers, since files come and go between them; give the `next` of the page before as `after`',
    });
}

/** @throws RequestInvalid for an end in the past: that would be a deletion without a tombstone. */
function readChange({ name, replicas, expiresAt }: PinChange, nowMs: number): PinEdit {
  const expiresAtMs = typeof expiresAt === 'string' ? Date.parse(expiresAt) : expiresAt;
  if (typeof expiresAtMs === 'number' && expiresAtMs <= nowMs)
    throw new RequestInvalid({ reason: 'expiresAt is in the past; DELETE ends a file now' });
  return { name, replicas, expiresAtMs };
}

/** The failure domains of the members that are up, and what a file survives on them. */
function survivalIn(members: readonly Member[]) {
  const domains = members
    .filter(({ state }) => state === 'alive' || state === 'suspect')
    .map(({ domain }) => domain);
  return {
    ...spreadOf(domains),
    survives: survivalOf(domains, REPLICAS_DEFAULT),
    summary: describeSurvival(domains, REPLICAS_DEFAULT),
  };
}
