/**
 * The console: uploads, what the files' state is, who is in the swarm.
 *
 * Truth is asked for (`/files`, `/peers`); events only say when to ask again, and while there are
 * none the page asks more often. Everything that came from outside (names above all) enters the page
 * as text, never as markup.
 */

/** How often the lists are asked again with the event stream, and without it. */
const REFRESH_LIVE_MS = 10_000;
const REFRESH_POLL_MS = 3000;
/** Events come in bursts: one refresh for all within this time. */
const REFRESH_DELAY_MS = 300;
/** A file that spreads is asked about this often at first, then less and less. */
const HEALTH_FIRST_MS = 500;
const HEALTH_LAST_MS = 10_000;
/** Longest wait for a list, so that a hung service shows. */
const ASK_TIMEOUT_MS = 15_000;
/** Rows that one press of "Show more" adds: what the service gives at most is 1000. */
const FILES_PER_PAGE = 100;
const FILES_MAX = 1000;

const STATE_WORDS = {
  receiving: 'Receiving',
  spreading: 'Spreading',
  safe: 'Safe',
  'at-risk': 'At risk',
  missing: 'Missing',
};

// ── Asking ───────────────────────────────────────────────────────────────────────────────────────

async function ask(path) {
  let response;
  try {
    response = await fetch(path, {
      headers: { accept: 'application/json' },
      signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
    });
  } catch (cause) {
    throw new Error('This peer does not answer. Is it running? Trying again.', { cause });
  }
  if (!response.ok) throw new Error(sentenceOf(response.status, await response.text()));
  return response.json();
}

/** A problem (RFC 9457) as a sentence for a person. */
function sentenceOf(status, text) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // Not a problem of ours, from something between: the status is all there is to say.
  }
  if (typeof problem.detail !== 'string') return `The answer was ${status} without an explanation.`;
  const detail = problem.detail.charAt(0).toUpperCase() + problem.detail.slice(1);
  return `${problem.title}. ${detail}.`;
}

// ── Saying ───────────────────────────────────────────────────────────────────────────────────────

function bytesText(count) {
  if (count < 1024) return `${count} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = count;
  let unit = -1;
  do {
    value /= 1024;
    unit++;
  } while (value >= 1023.95 && unit < units.length - 1);
  return `${value < 99.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

function agoText(ms) {
  if (ms < 1500) return 'now';
  if (ms < 90_000) return `${Math.round(ms / 1000)} s ago`;
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)} min ago`;
  return `${Math.round(ms / 3_600_000)} h ago`;
}

const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
const copiesText = (count) => `${count} ${count === 1 ? 'copy' : 'copies'}`;
const shortId = (peerId) => `…${peerId.slice(-8)}`;
const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;
const fileUrl = (cid) => `${location.origin}/files/${cid}`;

function stateText({ state, copies, replicas }) {
  return state === 'spreading' ? `Spreading ${copies}/${replicas}` : (STATE_WORDS[state] ?? state);
}

/** The one number for safety, in words. */
function safetyText(health) {
  if (health.copies === 0) return 'some of it is on no peer that answers';
  const copies = `${health.copies.toFixed(1)} ${health.copies === 1 ? 'copy' : 'copies'}`;
  if (health.survivesPeers === 0) return `${copies}, would not survive the loss of its peer`;
  const survives = `survives any ${plural(health.survivesPeers, 'peer')}`;
  const isOneDisk = health.disks === 1 && health.copies > 1;
  return `${copies}, ${survives}${isOneDisk ? ', all on one disk' : ''}`;
}

// ── Building ─────────────────────────────────────────────────────────────────────────────────────

const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { data = {}, ...rest } = properties;
  Object.assign(made, rest);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

/** Sets text only when it changed: a selection or a screen reader isn't disturbed for nothing. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setState(node, state, text) {
  node.className = 'state';
  node.dataset.state = state;
  setText(node, text);
}

function showFault(node, error) {
  node.hidden = error === undefined;
  setText(node, error === undefined ? '' : error.message);
}

function copyButton(label, text) {
  const button = element('button', { type: 'button' }, label);
  button.addEventListener('click', async () => {
    const isCopied = await copy(text());
    setText(button, isCopied ? 'Copied' : 'Copy failed');
    setTimeout(() => setText(button, label), 1500);
  });
  return button;
}

/** Browsers give the clipboard only to https and localhost; the old way works for a team's own network. */
async function copy(text) {
  if (navigator.clipboard !== undefined) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused by the browser's settings: the old way may still be allowed.
    }
  }
  const field = element('textarea', { value: text, className: 'hidden' });
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand('copy');
  field.remove();
  return isCopied;
}

// ── Uploads ──────────────────────────────────────────────────────────────────────────────────────

const waiting = [];
let isUploading = false;

function add(files) {
  for (const file of files) waiting.push(uploadCard(file));
  void uploadNext();
}

/** One after the other: two bodies at once only halve each other's speed. */
async function uploadNext() {
  if (isUploading) return;
  isUploading = true;
  for (let start = waiting.shift(); start !== undefined; start = waiting.shift()) await start();
  isUploading = false;
}

/** Shows a file that is to be uploaded; the answer starts the upload and settles when its reply is here. */
function uploadCard(file) {
  const state = element('span', { className: 'state', role: 'status' }, 'Waiting');
  const bar = element('progress', { max: Math.max(1, file.size), value: 0 });
  bar.setAttribute('aria-label', `Upload of ${file.name}`);
  const note = element('span', { className: 'quiet' });
  const stop = element('button', { type: 'button' }, 'Cancel');
  const fault = element('p', { className: 'fault', role: 'alert', hidden: true });
  const command = element(
    'code',
    { className: 'aside' },
    `curl -T ${quoted(file.name)} ${location.origin}/files/`,
  );
  const actions = element('span', { className: 'actions' }, stop);
  const card = element(
    'li',
    { className: 'card' },
    element('div', {}, element('span', { className: 'name' }, file.name), state),
    bar,
    element('div', {}, note, actions),
    fault,
    command,
  );
  byId('uploads').prepend(card);
  setText(note, bytesText(file.size));

  let isCancelled = false;
  let request;
  stop.addEventListener('click', () => {
    isCancelled = true;
    request?.abort();
    setState(state, 'stopped', 'Cancelled');
    end();
  });
  const end = () => {
    bar.remove();
    setText(note, bytesText(file.size));
    stop.replaceWith(dismissButton(card));
  };
  const fail = (message) => {
    if (isCancelled) return;
    setState(state, 'failed', 'Not uploaded');
    showFault(fault, new Error(message));
    end();
  };
  const done = (reply) => {
    end();
    const link = element('a', { href: `/files/${reply.cid}` }, fileUrl(reply.cid));
    command.replaceWith(element('code', { className: 'cid' }, link));
    card.append(
      element('code', { className: 'aside' }, `curl -o ${quoted(file.name)} ${fileUrl(reply.cid)}`),
    );
    setText(note, `${bytesText(reply.sizeBytes)} · sha-256 ${reply.sha256.slice(0, 16)}…`);
    actions.prepend(copyButton('Copy link', () => fileUrl(reply.cid)));
    void followHealth(reply, { card, state });
    refreshSoon();
  };

  return () =>
    new Promise((settle) => {
      if (isCancelled) return settle();
      const startedAt = performance.now();
      setState(state, 'receiving', 'Uploading');
      request = new XMLHttpRequest();
      request.open('POST', `/files?name=${encodeURIComponent(file.name)}`);
      request.setRequestHeader('content-type', 'application/octet-stream');
      request.upload.addEventListener('progress', ({ loaded }) => {
        bar.value = loaded;
        const perSecond = (loaded * 1000) / Math.max(1, performance.now() - startedAt);
        const leftText =
          loaded < file.size ? `, ${timeText((file.size - loaded) / perSecond)} left` : '';
        setText(
          note,
          `${bytesText(loaded)} of ${bytesText(file.size)}, ${bytesText(Math.round(perSecond))}/s${leftText}`,
        );
      });
      request.upload.addEventListener('load', () => {
        bar.value = bar.max;
        setState(state, 'spreading', 'Waiting for copies on other peers');
      });
      request.addEventListener('load', () => {
        if (request.status < 300) done(JSON.parse(request.responseText));
        else fail(sentenceOf(request.status, request.responseText));
      });
      request.addEventListener('error', () =>
        fail('The connection broke off. Nothing was kept; choose the file again to retry.'),
      );
      request.addEventListener('loadend', () => settle());
      request.send(file);
    });
}

function timeText(seconds) {
  if (!Number.isFinite(seconds)) return 'some time';
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.ceil(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function dismissButton(card) {
  const button = element('button', { type: 'button' }, 'Dismiss');
  button.addEventListener('click', () => card.remove());
  return button;
}

/** Asks how safe a new file is until it has its copies, or its card is gone. */
async function followHealth(reply, { card, state }) {
  setState(state, reply.state, stateText(reply));
  for (
    let waitMs = HEALTH_FIRST_MS;
    card.isConnected;
    waitMs = Math.min(waitMs * 1.4, HEALTH_LAST_MS)
  ) {
    try {
      const health = await ask(`/files/${reply.cid}/health`);
      const isSafe = health.state === 'safe';
      setState(state, health.state, isSafe ? `Safe ${safetyText(health)}` : stateText(health));
      if (isSafe) return refreshSoon();
    } catch (error) {
      state.title = error.message;
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

// ── Files ────────────────────────────────────────────────────────────────────────────────────────

/** Rows by CID: they are kept and changed, so that focus and opened details stay. */
const fileRows = new Map();
let filesWanted = FILES_PER_PAGE;

async function refreshFiles() {
  const { files, total } = await ask(`/files?limit=${filesWanted}`);
  const table = byId('files');
  const seen = new Set(files.map(({ cid }) => cid));
  for (const [cid, row] of fileRows)
    if (!seen.has(cid)) {
      row.group.remove();
      fileRows.delete(cid);
    }
  let before = table.tHead;
  for (const file of files) {
    const row = fileRows.get(file.cid) ?? fileRow(file);
    fileRows.set(file.cid, row);
    row.update(file);
    if (before.nextElementSibling !== row.group) before.after(row.group);
    before = row.group;
  }
  table.hidden = files.length === 0;
  byId('files-empty').hidden = files.length !== 0;
  byId('files-more').hidden = files.length >= total || filesWanted >= FILES_MAX;
  setText(
    byId('files-total'),
    total > files.length ? `${files.length} of ${total}` : `${total || ''}`,
  );
}

function fileRow({ cid, name }) {
  const link = element('a', { href: `/files/${cid}` }, name);
  const size = element('td', { className: 'number' });
  const state = element('span');
  const copies = element('td', { className: 'number', data: { label: 'copies' } });
  const details = element('tr', { className: 'details', hidden: true });
  const more = element('button', { type: 'button' }, 'Details');
  more.setAttribute('aria-expanded', 'false');
  const download = element(
    'a',
    { className: 'button', href: `/files/${cid}?download` },
    'Download',
  );
  const group = element(
    'tbody',
    {},
    element(
      'tr',
      {},
      element('td', { className: 'name' }, link),
      size,
      element('td', {}, state),
      copies,
      element(
        'td',
        { className: 'actions-cell' },
        element(
          'div',
          { className: 'actions' },
          download,
          copyButton('Copy link', () => fileUrl(cid)),
          more,
        ),
      ),
    ),
    details,
  );
  let isOpen = false;
  let current;
  more.addEventListener('click', () => {
    isOpen = !isOpen;
    details.hidden = !isOpen;
    more.setAttribute('aria-expanded', String(isOpen));
    if (isOpen) void showDetails(details, current);
  });
  return {
    group,
    update(file) {
      const isChanged = current?.copies !== file.copies || current?.state !== file.state;
      current = file;
      setText(size, bytesText(file.sizeBytes));
      setState(state, file.state, STATE_WORDS[file.state] ?? file.state);
      setText(copies, `${file.copies}/${file.replicas}`);
      if (isOpen && isChanged) void showDetails(details, file);
    },
  };
}

async function showDetails(row, { cid, name }) {
  const cell = element('td', { colSpan: 5 });
  if (row.firstChild === null)
    row.replaceChildren(element('td', { colSpan: 5 }, 'Asking the peers…'));
  try {
    const health = await ask(`/files/${cid}/health`);
    const holders = element('div', { className: 'holders' });
    for (const { peerId, blocks, share } of health.holders) {
      const meter = element('meter', { min: 0, max: 1, value: share });
      meter.setAttribute('aria-label', `Share of ${shortId(peerId)}`);
      holders.append(
        element('code', { title: peerId }, shortId(peerId)),
        meter,
        element('span', { className: 'number' }, `${blocks}/${health.blocks} blocks`),
      );
    }
    const safety = safetyText(health);
    cell.append(
      element('p', {}, `${safety.charAt(0).toUpperCase()}${safety.slice(1)}. Asked just now.`),
      holders,
    );
  } catch (error) {
    cell.append(element('p', { className: 'fault', role: 'alert' }, error.message));
  }
  cell.append(
    element(
      'div',
      { className: 'commands' },
      element('code', {}, cid),
      element('code', {}, `curl -o ${quoted(name)} ${fileUrl(cid)}`),
      element('code', {}, `curl ${fileUrl(cid)}/health`),
    ),
  );
  row.replaceChildren(cell);
}

// ── Peers ────────────────────────────────────────────────────────────────────────────────────────

const STATE_ORDER = ['alive', 'suspect', 'down', 'out'];

async function refreshPeers() {
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

function peerRow({ peerId, isSelf, state, blocks, usedBytes, freeBytes, seenMsAgo }) {
  const id = element(
    'td',
    { className: 'peer' },
    element('code', { title: peerId }, shortId(peerId)),
  );
  if (isSelf) id.append(element('span', { className: 'badge' }, 'this peer'));
  const number = (label, text) => element('td', { className: 'number', data: { label } }, text);
  const stateNode = element('span');
  setState(stateNode, state, state.charAt(0).toUpperCase() + state.slice(1));
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

// ── Staying current ──────────────────────────────────────────────────────────────────────────────

let isLive = false;
let refreshTimer;
let isRefreshing = false;
let isRefreshDue = false;

async function refresh() {
  if (isRefreshing) {
    isRefreshDue = true;
    return;
  }
  isRefreshing = true;
  clearTimeout(refreshTimer);
  const faults = await Promise.all([
    attempt(refreshFiles, byId('files-fault')),
    attempt(refreshPeers, byId('peers-fault')),
  ]);
  isRefreshing = false;
  const isDown = faults.every((fault) => fault !== undefined);
  setLine(isDown ? 'down' : isLive ? 'live' : 'poll');
  const waitMs = isRefreshDue ? REFRESH_DELAY_MS : isLive ? REFRESH_LIVE_MS : REFRESH_POLL_MS;
  isRefreshDue = false;
  refreshTimer = setTimeout(() => void refresh(), waitMs);
}

/** Asks again shortly; many calls are one. */
function refreshSoon() {
  if (isRefreshing) isRefreshDue = true;
  else {
    clearTimeout(refreshTimer);
    refreshTimer = setTimeout(() => void refresh(), REFRESH_DELAY_MS);
  }
}

async function attempt(task, faultNode) {
  try {
    await task();
    showFault(faultNode, undefined);
    return undefined;
  } catch (error) {
    showFault(faultNode, error);
    return error;
  }
}

function setLine(state) {
  byId('line').dataset.state = state;
  const words = { live: 'live', poll: 'asking every few seconds', down: 'not answering' };
  setText(byId('line'), words[state]);
}

function listen() {
  const events = new EventSource('/events');
  events.addEventListener('open', () => {
    isLive = true;
    refreshSoon();
  });
  events.addEventListener('error', () => {
    isLive = false;
    refreshSoon();
    // A refusal (too many listeners) closes it for good: the browser doesn't come back by itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, REFRESH_LIVE_MS);
  });
  const on = (kind, sentence) =>
    events.addEventListener(kind, ({ data }) => {
      setText(byId('news'), sentence(JSON.parse(data)));
      refreshSoon();
    });
  on('member', ({ peerId, state }) => `Peer ${shortId(peerId)} is ${state}.`);
  on('pin', ({ name }) => `${name} is in the swarm.`);
  on('holding', ({ peerId }) => `Peer ${shortId(peerId)} took new blocks.`);
  on('upload', ({ name, phase, receivedBytes, copies }) => {
    if (phase === 'receiving') return `${name}: ${bytesText(receivedBytes)} received.`;
    if (phase === 'spreading') return `${name}: spreading, ${copiesText(copies)}.`;
    return phase === 'done'
      ? `${name}: uploaded.`
      : `${name}: the upload failed; nothing was kept.`;
  });
}

// ── Start ────────────────────────────────────────────────────────────────────────────────────────

setText(byId('add-curl'), `curl -T report.pdf ${location.origin}/files/`);
setText(byId('files-curl'), `curl ${location.origin}/files`);
setText(byId('peers-curl'), `curl ${location.origin}/peers`);

byId('picker').addEventListener('change', ({ target }) => {
  add(target.files);
  target.value = '';
});
byId('files-more').addEventListener('click', () => {
  filesWanted = Math.min(filesWanted + FILES_PER_PAGE, FILES_MAX);
  void refresh();
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
  add(
    items
      .filter((item) => item.webkitGetAsEntry?.()?.isDirectory !== true)
      .map((item) => item.getAsFile())
      .filter((file) => file !== null),
  );
});
addEventListener('beforeunload', (event) => {
  if (isUploading) event.preventDefault();
});

listen();
void refresh();
