/** The deleted files that can be brought back. Rows are kept, so that focus stays. */
import { ask, tell } from '../ask.js';
import { actionButton, byId, element, setText } from '../build.js';
import { refreshSoon } from '../refresh.js';
import { bytesText, momentText, sinceText } from '../words.js';

/** Rows that one press of "Show more" adds. */
const FILES_PER_PAGE = 20;
/** The most that the service gives. Past it: "Show more" is gone; the command line lists them all. */
const FILES_MAX = 1000;

/** By CID. */
const rows = new Map();
let wanted = FILES_PER_PAGE;

export async function refreshDeleted() {
  const { files, total } = await ask(`files?deleted&limit=${wanted}`);
  const body = byId('deleted').tBodies[0];
  const seen = new Set(files.map(({ cid }) => cid));
  for (const [cid, row] of rows)
    if (!seen.has(cid)) {
      row.node.remove();
      rows.delete(cid);
    }
  for (const [index, file] of files.entries()) {
    const row = rows.get(file.cid) ?? deletedRow(file);
    rows.set(file.cid, row);
    row.update(file);
    if (body.children[index] !== row.node)
      body.insertBefore(row.node, body.children[index] ?? null);
  }
  byId('deleted-section').hidden = files.length === 0;
  byId('deleted-more').hidden = files.length >= total || wanted >= FILES_MAX;
  setText(
    byId('deleted-total'),
    total > files.length ? `${files.length} of ${total}` : `${total || ''}`,
  );
}

/** Lists more of them from the next refresh on. */
export function wantMoreDeleted() {
  wanted = Math.min(wanted + FILES_PER_PAGE, FILES_MAX);
}

function deletedRow({ cid }) {
  const name = element('span');
  const since = element('span', { className: 'quiet health' });
  const size = element('td', { className: 'number' });
  const purged = element('td', { data: { label: 'purged' } });
  const copies = element('td', { className: 'number', data: { label: 'copies' } });
  const fault = byId('deleted-fault');
  let current;
  const tellAll = () => refreshSoon('files', 'deleted');
  const back = actionButton('Bring back', fault, async () => {
    await tell('POST', `files/${cid}/undelete`);
    tellAll();
  });
  const purge = actionButton('Purge now', fault, async () => {
    if (!confirm(`Purge “${current.name}” at every peer of the swarm? This can't be undone.`))
      return;
    await tell('DELETE', `files/${cid}?now`);
    tellAll();
  });
  purge.className = 'danger';
  const node = element(
    'tr',
    {},
    element('td', { className: 'name' }, name, since),
    size,
    purged,
    copies,
    element(
      'td',
      { className: 'actions-cell' },
      element('div', { className: 'actions' }, back, purge),
    ),
  );
  return {
    node,
    update(file) {
      current = file;
      setText(name, file.name);
      setText(since, `deleted ${sinceText(file.deletedAtMs)}`);
      setText(size, bytesText(file.sizeBytes));
      setText(purged, momentText(file.purgeAtMs));
      setText(copies, `${file.copies}/${file.replicas}${file.state === 'unknown' ? '?' : ''}`);
    },
  };
}
