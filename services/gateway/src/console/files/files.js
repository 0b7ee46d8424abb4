/** The list of the swarm's files. Rows are kept and changed, so that focus and open details stay. */
import { ask } from '../ask.js';
import { byId, copyButton, element, setState, setText } from '../build.js';
import { fileDetails } from './file-details.js';
import { bytesText, expiryText, fileUrl, stateWord, survivalText, whyText } from '../words.js';

/** Rows that one press of "Show more" adds. */
const FILES_PER_PAGE = 100;
/** The most that the service gives. Past it: "Show more" is gone; the command line lists them all. */
const FILES_MAX = 1000;

/** By CID. */
const rows = new Map();
let wanted = FILES_PER_PAGE;

export async function refreshFiles() {
  const { files, total, incomplete } = await ask(`files?limit=${wanted}`);
  const table = byId('files');
  const seen = new Set(files.map(({ cid }) => cid));
  for (const [cid, row] of rows)
    if (!seen.has(cid)) {
      row.group.remove();
      rows.delete(cid);
    }
  let before = table.tHead;
  for (const file of files) {
    const row = rows.get(file.cid) ?? fileRow(file);
    rows.set(file.cid, row);
    row.update(file);
    if (before.nextElementSibling !== row.group) before.after(row.group);
    before = row.group;
  }
  table.hidden = files.length === 0;
  byId('files-empty').hidden = files.length !== 0;
  byId('files-incomplete').hidden = incomplete === undefined;
  if (incomplete !== undefined)
    setText(byId('files-incomplete'), `The list may lack files: ${incomplete}.`);
  byId('files-more').hidden = files.length >= total || wanted >= FILES_MAX;
  setText(
    byId('files-total'),
    total > files.length ? `${files.length} of ${total}` : `${total || ''}`,
  );
}

/** Lists more files from the next refresh on. */
export function wantMoreFiles() {
  wanted = Math.min(wanted + FILES_PER_PAGE, FILES_MAX);
}

/** Something about a file's copies changed: its details are asked for again if they are open. */
export function refreshDetails(cid) {
  rows.get(cid)?.refreshDetails();
}

function fileRow({ cid }) {
  const link = element('a', { href: `files/${cid}` });
  const health = element('span', { className: 'quiet health' });
  const size = element('td', { className: 'number' });
  const state = element('span');
  const copies = element('td', { className: 'number', data: { label: 'copies' } });
  const detailsRow = element('tr', { className: 'details', hidden: true });
  const more = element('button', { type: 'button' }, 'Details');
  more.setAttribute('aria-expanded', 'false');
  const download = element('a', { className: 'button', href: `files/${cid}?download` }, 'Download');
  const buttons = element(
    'div',
    { className: 'actions' },
    download,
    copyButton('Copy link', () => fileUrl(cid)),
    more,
  );
  const group = element(
    'tbody',
    {},
    element(
      'tr',
      {},
      element('td', { className: 'name' }, link, health),
      size,
      element('td', {}, state),
      copies,
      element('td', { className: 'actions-cell' }, buttons),
    ),
    detailsRow,
  );
  let current;
  let details;
  more.addEventListener('click', () => {
    detailsRow.hidden = !detailsRow.hidden;
    more.setAttribute('aria-expanded', String(!detailsRow.hidden));
    if (detailsRow.hidden) return;
    details = fileDetails(current);
    detailsRow.replaceChildren(details.cell);
  });
  const refreshOpen = () => {
    if (!detailsRow.hidden) void details.refresh();
  };
  return {
    group,
    refreshDetails: refreshOpen,
    update(file) {
      const last = current;
      current = file;
      setText(link, file.name);
      setText(health, healthLine(file));
      setText(size, bytesText(file.sizeBytes));
      setState(state, file.state, stateWord(file.state));
      setText(copies, `${file.copies}/${file.replicas}${file.state === 'unknown' ? '?' : ''}`);
      const isChanged = ['copies', 'state', 'replicas', 'expiresAtMs', 'name'].some(
        (key) => last?.[key] !== file[key],
      );
      if (last !== undefined && isChanged) refreshOpen();
    },
  };
}

/** A file's safety in a line, why copies lack, and its end, when it has one. */
function healthLine(file) {
  // Of a number that is not of now only its date is said.
  const survival = file.state === 'unknown' ? '' : survivalText(file);
  const end = file.expiresAtMs === undefined ? '' : expiryText(file);
  return [survival, whyText(file), end].filter((part) => part !== '').join(' · ');
}
