/** The HTTP face of discovery: every route of the contract, each a line over its mechanism. */
import { mount, type Mounting } from '@shoal/chassis';
import { discoveryRoutes, type Member } from '@shoal/protocol';
import type { Announce } from './announce.ts';
import { type Health, onlyUp } from './health.ts';
import type { Holders } from './holders.ts';
import type { Membership } from './membership.ts';
import type { Pins } from './pins.ts';
import type { Want } from './want.ts';

export function mountRoutes(
  mounting: Mounting,
  deps: {
    readonly membership: Membership;
    readonly pins: Pins;
    readonly want: Want;
    readonly announce: Announce;
    readonly holders: Holders;
    readonly health: Health;
  },
): void {
  const { membership, pins, want, announce, holders, health } = deps;
  const { self } = mounting;

  mount(mounting, discoveryRoutes.listPeers, async () => {
    const peers = membership.list();
    return { self, disks: countDisks(peers), peers };
  });
  mount(mounting, discoveryRoutes.members, async ({ query, signal }) => {
    await membership.changed(query.after, query.waitMs, signal);
    return { version: membership.version(), members: membership.list() };
  });
  mount(mounting, discoveryRoutes.listFiles, ({ query, signal }) => health.list(query, signal));
  mount(mounting, discoveryRoutes.fileHealth, ({ params, signal }) =>
    health.examine(params.hash, signal),
  );
  mount(mounting, discoveryRoutes.putPin, ({ body }) => pins.put(body));
  mount(mounting, discoveryRoutes.getPin, ({ params, query, signal }) =>
    pins.search(params.hash, { ask: query.ask, signal }),
  );
  mount(mounting, discoveryRoutes.listPins, async ({ query }) =>
    pins.page(query.after, query.limit),
  );
  mount(mounting, discoveryRoutes.want, async ({ body: { roots, enough, timeoutMs }, signal }) => {
    const { asked, answers } = await want(roots, { enough, timeoutMs, signal });
    const known = new Set(membership.list().map(({ peerId }) => peerId));
    return { asked, answers: answers.filter(({ peerId }) => known.has(peerId)) };
  });
  mount(mounting, discoveryRoutes.announce, async ({ body }) => {
    await announce(body.roots);
    return {};
  });
  mount(mounting, discoveryRoutes.holders, async ({ params }) => {
    const answers = onlyUp(holders.of(params.cid), membership.list());
    return { answers: answers.filter(({ peerId }) => peerId !== self) };
  });
}

/** Distinct disks among the members that are up. */
function countDisks(members: readonly Member[]): number {
  const up = members.filter(({ state }) => state === 'alive' || state === 'suspect');
  return new Set(up.map(({ domain }) => `${domain.host}/${domain.disk}`)).size;
}
