/** The details of a file: how safe it is, which peers hold it, and what can be changed about it. */
import { ask, tell } from '../ask.js';
import { actionButton, element, setText, showFault } from '../build.js';
import { refreshSoon } from '../refresh.js';
import {
  capitalised,
  expiryText,
  fileUrl,
  holdingText,
  momentText,
  proofText,
  quoted,
  safetyText,
  shortId,
  sinceText,
  spreadText,
  whyText,
} from '../words.js';

/** As in packages/protocol, which a page can't load. Past it: the field refuses the number. */
const REPLICAS_MAX = 16;

/** The table cell of a file's details; `refresh` asks the peers again. */
export function fileDetails({ cid, name, replicas }) {
  const healthFault = element('p', { className: 'fault', role: 'alert', hidden: true });
  const health = element('div', {}, 'Asking the peers…');
  const { form, setReplicas } = changeForm({ cid, name, replicas });
  const commands = element(
    'div',
    { className: 'commands' },
    element('code', {}, cid),
    element('code', {}, `curl -o ${quoted(name)} ${fileUrl(cid)}`),
    element('code', {}, `curl ${fileUrl(cid)}/health`),
  );
  const cell = element('td', { colSpan: 5 }, healthFault, health, form, commands);
  const refresh = async () => {
    try {
      const answer = await ask(`files/${cid}/health`);
      health.replaceChildren(...healthLines(answer));
      setReplicas(answer.replicas);
      showFault(healthFault, undefined);
    } catch (error) {
      health.replaceChildren();
      showFault(healthFault, error);
    }
  };
  void refresh();
  return { cell, refresh };
}

function healthLines(answer) {
  const { blocks: blocksTotal, checkedAtMs, expiresAtMs } = answer;
  const holders = element('div', { className: 'holders' });
  for (const holder of answer.holders) {
    const { peerId, share } = holder;
    const meter = element('meter', { min: 0, max: 1, value: share });
    meter.setAttribute('aria-label', `Share of ${shortId(peerId)}`);
    holders.append(
      element('code', { title: peerId }, shortId(peerId)),
      meter,
      element('span', { className: 'number' }, holdingText(holder, blocksTotal)),
    );
  }
  const checked =
    checkedAtMs === undefined ? '' : ` Oldest re-hash of a copy: ${sinceText(checkedAtMs)}.`;
  const why = whyText(answer);
  const asked =
    answer.state === 'unknown'
      ? `By answers of ${momentText(answer.verifiedAtMs)}.`
      : 'Asked just now.';
  const end = expiresAtMs === undefined ? '' : ` (${new Date(expiresAtMs).toLocaleString()})`;
  return [
    element(
      'p',
      {},
      `${capitalised(safetyText(answer))}${spreadText(answer)}. ${proofText(answer)}. ${asked}${checked}`,
    ),
    ...(why === '' ? [] : [element('p', {}, `${capitalised(why)}.`)]),
    element('p', { className: 'quiet' }, `${capitalised(expiryText(answer))}${end}.`),
    holders,
  ];
}

/** Copies to keep, and the end of the file. */
function changeForm({ cid, name, replicas }) {
  const fault = element('p', { className: 'fault', role: 'alert', hidden: true });
  const said = element('span', { className: 'quiet', role: 'status' });
  const count = element('input', {
    type: 'number',
    min: 1,
    max: REPLICAS_MAX,
    value: replicas,
    required: true,
  });
  let isEdited = false;
  count.addEventListener('input', () => {
    isEdited = true;
    setText(said, '');
  });
  const change = actionButton('Keep this many', fault, async () => {
    if (!count.reportValidity()) return;
    const changed = await tell('PATCH', `files/${cid}`, { replicas: Number(count.value) });
    isEdited = false;
    const few = (changed?.causes ?? []).filter(({ kind }) => kind === 'few-peers');
    const limit = whyText({ ...changed, causes: few });
    setText(said, limit === '' ? 'Changed; copies follow by themselves.' : `Changed; ${limit}.`);
    refreshSoon('files');
  });
  const remove = actionButton('Delete', fault, async () => {
    const isSure = confirm(
      `Delete “${name}” from every peer of the swarm? It can be brought back for a while, unless its room is needed.`,
    );
    if (!isSure) return;
    const removed = await tell('DELETE', `files/${cid}`);
    if (removed?.keptBy !== undefined)
      setText(said, 'No longer kept for this peer. It stays: other peers put the same file.');
    refreshSoon('files', 'deleted');
  });
  remove.className = 'danger';
  const form = element(
    'div',
    {},
    fault,
    element(
      'div',
      { className: 'changes' },
      element('label', {}, 'Copies ', count),
      change,
      said,
      remove,
    ),
  );
  /** Shows the values in force, unless the person is typing. */
  const setReplicas = (inForce) => {
    if (!isEdited) count.value = inForce;
  };
  return { form, setReplicas };
}
