/** The members of the swarm. */
import { ask } from './ask.js';
import { byId, element, setState, setText } from './build.js';
import { agoText, bytesText, capitalised, shortId, spanText } from './words.js';

const STATE_ORDER = ['alive', 'suspect', 'down', 'out'];

export async function refreshPeers() {
  const { peers, disks, summary, twin, removed } = await ask('peers');
  const order = ({ isSelf, state }) => (isSelf ? -1 : STATE_ORDER.indexOf(state));
  const sorted = peers.toSorted(
    (one, other) => order(one) - order(other) || (one.peerId < other.peerId ? -1 : 1),
  );
  byId('peers').tBodies[0].replaceChildren(...sorted.map(peerRow));
  byId('peers').hidden = false;
  const up = peers.filter(({ state }) => state === 'alive').length;
  setText(byId('peers-total'), up === peers.length ? `${up}` : `${up} of ${peers.length} up`);
  const safety = byId('safety');
  safety.className = disks < up ? 'warn' : 'quiet';
  // The peer works out what a file survives, for this page, the CLI and scripts alike.
  setText(safety, summary);
  byId('removed').hidden = removed === undefined;
  if (removed !== undefined) setText(byId('removed'), removedText(removed));
  const twins = [
    ...(twin === undefined ? [] : [twinText(twin)]),
    ...peers.filter((peer) => !peer.isSelf && peer.twin !== undefined).map(otherTwinText),
  ];
  byId('twin').hidden = twins.length === 0;
  setText(byId('twin'), twins.join(' '));
}

/** Two processes of one identity: says how the copy becomes a peer of its own. */
const twinText = ({ isAside, gateway }) =>
  `Another process runs under this peer's identity, at ${gateway}: one of the two data folders is a copy. ${
    isAside
      ? 'Nothing can be written here until one of the two is stopped, or this one is started with --new-identity.'
      : 'That one stands aside; stop it, or start it with --new-identity.'
  }`;

/** An owner shut this peer out. */
const removedText = ({ reason }) =>
  `This peer was removed from the swarm${reason === undefined ? '' : ` (${reason})`}. No member talks to it, and nothing can be written here.`;

/** The same of another member, as its own record says it. */
const otherTwinText = ({ peerId, http, twin }) =>
  `Another process runs under the identity of ${shortId(peerId)}, which is at ${http.gateway}: it is at ${twin}, and one of the two data folders is a copy.`;

function peerRow(peer) {
  const { peerId, name, isSelf, state, draining, blocks, usedBytes, freeBytes, seenMsAgo } = peer;
  const id = element(
    'td',
    { className: 'peer' },
    ...(name === undefined ? [] : [element('span', { className: 'given' }, name), ' ']),
    element('code', { title: peerId }, shortId(peerId)),
  );
  if (isSelf) id.append(element('span', { className: 'badge' }, 'this peer'));
  const number = (label, text) => element('td', { className: 'number', data: { label } }, text);
  const stateNode = element('span');
  if (peer.isDistrusted)
    setState(stateNode, 'suspect', `${capitalised(state)}, can’t prove its copies`);
  else if (draining && state === 'alive') setState(stateNode, 'draining', 'Draining');
  else
    setState(
      stateNode,
      state,
      `${capitalised(state)}${draining ? ', draining' : ''}${outText(peer)}`,
    );
  return element(
    'tr',
    {},
    id,
    element('td', {}, stateNode),
    number('blocks', blocks.toLocaleString('en')),
    number('holds', bytesText(usedBytes)),
    number('free', bytesText(freeBytes)),
    number('heard', agoText(seenMsAgo)),
  );
}

/** Of one that is down: when its copies are made anew elsewhere. */
const outText = ({ outInMs }) =>
  outInMs === undefined ? '' : `, replaced in ${spanText(outInMs)}`;
