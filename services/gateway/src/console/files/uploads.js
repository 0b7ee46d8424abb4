/** Uploads from this page: one card each, from the choice of the file until it is safe. */
import { ask, Refused, whyOf } from '../ask.js';
import { byId, copyButton, element, setState, setText, showFault } from '../build.js';
import { refreshSoon } from '../refresh.js';
import { PIECES_FROM_BYTES, sendInPieces } from './send-pieces.js';
import { renewToken } from '../sign-in.js';
import { token, tokenHeaders } from '../token.js';
import { BASE, bytesText, fileUrl, quoted, safetyText, stateText, whyText } from '../words.js';

/** A file that spreads is asked about this often at first, then less and less. */
const HEALTH_FIRST_MS = 500;
const HEALTH_LAST_MS = 10_000;

const waiting = [];
let isUploading = false;

/** Whether a body is on its way: leaving the page would end it. */
export const isBusy = () => isUploading;

/** Queues files for upload. */
export function addFiles(files) {
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

/** Shows a file to upload; the answer starts the upload and settles when its reply is here. */
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
    `curl -T ${quoted(file.name)} ${BASE}files/`,
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
  const cancel = new AbortController();
  stop.addEventListener('click', () => {
    isCancelled = true;
    request?.abort();
    cancel.abort();
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
    const link = element('a', { href: `files/${reply.cid}` }, fileUrl(reply.cid));
    command.replaceWith(element('code', { className: 'cid' }, link));
    card.append(
      element('code', { className: 'aside' }, `curl -o ${quoted(file.name)} ${fileUrl(reply.cid)}`),
    );
    setText(note, `${bytesText(reply.sizeBytes)} · sha-256 ${reply.sha256.slice(0, 16)}…`);
    actions.prepend(copyButton('Copy link', () => fileUrl(reply.cid)));
    void followHealth(reply, { card, state });
    refreshSoon('files');
  };

  const showSent = (sent, startedAt) => {
    bar.value = sent;
    const perSecond = (sent * 1000) / Math.max(1, performance.now() - startedAt);
    const leftText = sent < file.size ? `, ${timeText((file.size - sent) / perSecond)} left` : '';
    setText(
      note,
      `${bytesText(sent)} of ${bytesText(file.size)}, ${bytesText(Math.round(perSecond))}/s${leftText}`,
    );
  };
  const sendLarge = (startedAt) =>
    sendInPieces(file, {
      onSent(sent) {
        setState(state, 'receiving', 'Uploading');
        showSent(sent, startedAt);
      },
      onTrouble(message) {
        setState(state, 'at-risk', 'Interrupted, trying again');
        state.title = message;
      },
      signal: cancel.signal,
    });
  const sendSmall = async (startedAt) => {
    const used = token();
    request = new XMLHttpRequest();
    const isAnswered = await sendWhole(request, file, {
      onSent: (sent) => showSent(sent, startedAt),
      onAllSent() {
        bar.value = bar.max;
        setState(state, 'spreading', 'Waiting for copies on other peers');
      },
    });
    const { status, responseText } = request;
    if (!isAnswered)
      throw new Error(
        'The connection broke off. Nothing was kept; choose the file again to retry.',
      );
    if (status === 401 && (await renewToken(used, whyOf(used))))
      return sendSmall(performance.now());
    if (status >= 300) throw new Refused(status, responseText);
    return JSON.parse(responseText);
  };
  return async () => {
    if (isCancelled) return;
    setState(state, 'receiving', 'Uploading');
    const send = file.size >= PIECES_FROM_BYTES ? sendLarge : sendSmall;
    try {
      done(await send(performance.now()));
    } catch (error) {
      fail(error.message);
    }
  };
}

/** Sends a file as one body: fetch does not say how far it is. Answers whether an answer came. */
function sendWhole(request, file, { onSent, onAllSent }) {
  request.open('POST', `files?name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader('content-type', 'application/octet-stream');
  for (const [name, value] of Object.entries(tokenHeaders())) request.setRequestHeader(name, value);
  request.upload.addEventListener('progress', ({ loaded }) => onSent(loaded));
  request.upload.addEventListener('load', onAllSent);
  return new Promise((settle) => {
    request.addEventListener('load', () => settle(true));
    request.addEventListener('loadend', () => settle(false));
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
      const health = await ask(`files/${reply.cid}/health`);
      const isSafe = health.state === 'safe';
      setState(state, health.state, isSafe ? `Safe ${safetyText(health)}` : stateText(health));
      state.title = whyText(health);
      // A copy at every peer there is: nothing more comes by itself.
      if (isSafe || health.state === 'limited') return refreshSoon('files');
    } catch (error) {
      state.title = error.message;
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}
