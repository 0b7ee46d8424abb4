/** Who is in the swarm. */
import { ask } from './ask.js';
import { byId, element, setState, setText } from './build.js';
import { agoText, bytesText, capitalised, plural, shortId } from './words.js';

const STATE_ORDER = ['alive', 'suspect', 'down', 'out'];

export async function refreshPeers() {
  const { peers, disks } = await ask('/peers');
  const order = ({ isSelf, state }) => (isSelf ? -1 : STATE_ORDER.indexOf(state));
  const sorted = peers.toSorted(
    (one, other) => order(one) - order(other) || (one.peerId < other.peerId ? -1 : 1),
  );
  byId('peers').tBodies[0].replaceChildren(...sorted.map(peerRow));
  byId('peers').hidden = false;
  const up = peers.filter(({ state }) => state === 'alive').length;
  setText(byId('peers-total'), up === peers.length ? `${up}` : `${up} of ${peers.length} up`);
  const isShared = disks < up;
  const safety = byId('safety');
  safety.className = isShared ? 'warn' : 'quiet';
  setText(
    safety,
    isShared
      ? `${plural(up, 'peer')}, ${plural(disks, 'disk')}: survives crashes, not disk loss`
      : `${plural(up, 'peer')} on ${plural(disks, 'disk')}`,
  );
}

function peerRow({ peerId, isSelf, state, draining, blocks, usedBytes, freeBytes, seenMsAgo }) {
  const id = element(
    'td',
    { className: 'peer' },
    element('code', { title: peerId }, shortId(peerId)),
  );
  if (isSelf) id.append(element('span', { className: 'badge' }, 'this peer'));
  const number = (label, text) => element('td', { className: 'number', data: { label } }, text);
  const stateNode = element('span');
  if (draining && state === 'alive') setState(stateNode, 'draining', 'Draining');
  else setState(stateNode, state, `${capitalised(state)}${draining ? ', draining' : ''}`);
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
