/** Adding a machine: an invitation in the name of this peer, where an owner let it invite. */
import { ask, tell } from './ask.js';
import { actionButton, byId, copyButton, setText } from './build.js';
import { spanText } from './words.js';

export async function refreshInvite() {
  const { mayInvite } = await ask('roster');
  byId('invite').hidden = !mayInvite;
}

export function addInviteButton() {
  byId('invite-actions').append(
    actionButton('Add a machine', byId('invite-fault'), async () => {
      show(await tell('POST', 'invitations', {}));
    }),
  );
  byId('invite-copy').append(copyButton('Copy', () => byId('invite-line').textContent));
}

function show({ code, expiresAtMs, addresses, qr }) {
  byId('invitation').hidden = false;
  setText(byId('invite-line'), `npm run -s shoal -- join ${code}`);
  setText(byId('invite-end'), `for ${spanText(expiresAtMs - Date.now())}`);
  byId('invite-alone').hidden = !addresses.every((each) => isOfThisMachine(new URL(each).hostname));
  const picture = byId('invite-qr');
  picture.setAttribute('viewBox', `0 0 ${qr.size} ${qr.size}`);
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', qr.path);
  picture.replaceChildren(path);
}

const isOfThisMachine = (host) => /^(?:127\.|localhost$|\[::1\]$)/.test(host);
