/**
 * The console: uploads, what the files' state is, the members of the swarm, the upkeep of this peer.
 *
 * Truth is asked for (`/files`, `/peers`, `/upkeep`); events only say when to ask again. Each part
 * is a module of its own; this one puts them together.
 */
import { byId, setText } from './build.js';
import { listen } from './event-stream.js';
import { addDownloads } from './files/downloads.js';
import { refreshDeleted, wantMoreDeleted } from './files/deleted.js';
import { refreshDetails, refreshFiles, wantMoreFiles } from './files/files.js';
import { addInviteButton, refreshInvite } from './invite.js';
import { refreshPeers } from './peers.js';
import { addPart, refresh, refreshSoon, setLive } from './refresh.js';
import { addSignIn } from './sign-in.js';
import { addFiles, isBusy } from './files/uploads.js';
import { addUpkeepButtons, refreshUpkeep } from './upkeep.js';
import { BASE, bytesText, copiesText, plural, shortId } from './words.js';

/** The function that it gives begins anew. */
function listenToEvents() {
  const kinds = new Map();
  /** Says what happened, and asks again for the parts that it concerns. */
  const on = (kind, concerned, sentence) =>
    kinds.set(kind, (data) => {
      setText(byId('news'), sentence(JSON.parse(data)));
      refreshSoon(...concerned);
    });
  on('member', ['peers', 'files'], ({ peerId, state }) => `Peer ${shortId(peerId)} is ${state}.`);
  on('pin', ['files', 'deleted'], ({ name }) => `${name} is in the swarm.`);
  on('deleted', ['files', 'deleted'], ({ name }) => `${name} was deleted.`);
  on('purged', ['deleted', 'upkeep'], ({ name, isForRoom }) =>
    isForRoom
      ? `${name} can't be brought back any more: this peer needed its room.`
      : `${name} can't be brought back any more.`,
  );
  on('holding', ['files', 'peers'], ({ peerId }) => `Peer ${shortId(peerId)} took new blocks.`);
  on('repair', ['files', 'peers', 'upkeep'], ({ cid, copiedBlocks, droppedBlocks }) => {
    refreshDetails(cid);
    const did = [
      ...(copiedBlocks > 0 ? [`copied ${plural(copiedBlocks, 'block')}`] : []),
      ...(droppedBlocks > 0 ? [`dropped ${plural(droppedBlocks, 'block')} too many`] : []),
    ];
    return `This peer ${did.join(' and ') || 'looked at a file'}.`;
  });
  on('upload', [], ({ name, phase, receivedBytes, copies }) => {
    if (phase !== 'receiving') refreshSoon('files');
    if (phase === 'receiving') return `${name}: ${bytesText(receivedBytes)} received.`;
    if (phase === 'spreading') return `${name}: spreading, ${copiesText(copies)}.`;
    return phase === 'done'
      ? `${name}: uploaded.`
      : `${name}: the upload failed; nothing was kept.`;
  });
  return listen({
    onOpen: () => setLive(true),
    onLost: () => setLive(false),
    onEvent: (kind, data) => kinds.get(kind)?.(data),
  });
}

setText(byId('add-curl'), `curl -T report.pdf ${BASE}files/`);
setText(byId('files-curl'), `curl ${BASE}files`);
setText(byId('deleted-curl'), `curl ${BASE}files?deleted`);
setText(byId('peers-curl'), `curl ${BASE}peers`);
setText(byId('upkeep-curl'), `curl ${BASE}upkeep`);

byId('picker').addEventListener('change', ({ target }) => {
  addFiles(target.files);
  target.value = '';
});
byId('files-more').addEventListener('click', () => {
  wantMoreFiles();
  refreshSoon('files');
});
byId('deleted-more').addEventListener('click', () => {
  wantMoreDeleted();
  refreshSoon('deleted');
});
let dragDepth = 0;
const setDragging = (change) => {
  dragDepth = Math.max(0, dragDepth + change);
  document.body.classList.toggle('dragging', dragDepth > 0);
};
addEventListener('dragenter', () => setDragging(1));
addEventListener('dragleave', () => setDragging(-1));
addEventListener('dragover', (event) => event.preventDefault());
addEventListener('drop', (event) => {
  event.preventDefault();
  setDragging(-dragDepth);
  // Only files: a folder has no bytes of its own and would fail in the middle of the upload.
  const items = [...event.dataTransfer.items].filter((item) => item.kind === 'file');
  addFiles(
    items
      .filter((item) => item.webkitGetAsEntry?.()?.isDirectory !== true)
      .map((item) => item.getAsFile())
      .filter((file) => file !== null),
  );
});
addEventListener('beforeunload', (event) => {
  if (isBusy()) event.preventDefault();
});

addPart('files', refreshFiles, byId('files-fault'));
addPart('deleted', refreshDeleted, byId('deleted-fault'));
addPart('peers', refreshPeers, byId('peers-fault'));
addPart('invite', refreshInvite, byId('roster-fault'));
addPart('upkeep', refreshUpkeep, byId('upkeep-fault'));
addUpkeepButtons();
addInviteButton();
const listenAgain = listenToEvents();
addDownloads(byId('files-fault'));
addSignIn(() => {
  listenAgain();
  void refresh();
});
void refresh();
