/** How figures and states look to people. */

const STATE_WORDS = {
  receiving: 'Receiving',
  spreading: 'Spreading',
  safe: 'Safe',
  reduced: 'Reduced',
  limited: 'Limited',
  'at-risk': 'At risk',
  missing: 'Missing',
  unknown: 'Unknown',
};

export function bytesText(count) {
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

/** A time span in whole units: `40 s`, `3 d`. */
export function spanText(ms) {
  if (ms < 90_000) return `${Math.max(1, Math.round(ms / 1000))} s`;
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 129_600_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`;
}

export const agoText = (ms) => (ms < 1500 ? 'now' : `${spanText(ms)} ago`);
/** How long ago a moment of the wall clock was; clocks that differ a little make no future. */
export const sinceText = (atMs) => agoText(Math.max(0, Date.now() - atMs));

/** When a file ends, or that it does not. */
export function expiryText({ expiresAtMs }) {
  if (expiresAtMs === undefined) return 'never ends';
  const leftMs = expiresAtMs - Date.now();
  return leftMs <= 0 ? 'has ended' : `ends in ${spanText(leftMs)}`;
}

export const plural = (count, word) =>
  `${count.toLocaleString('en')} ${word}${count === 1 ? '' : 's'}`;
export const copiesText = (count) => `${count} ${count === 1 ? 'copy' : 'copies'}`;
export const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const shortId = (peerId) => `…${peerId.slice(-8)}`;
export const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;
/** Where this peer is, for programs: also when a proxy serves it below a path of its own. */
export const BASE = new URL('.', location.href).href;

export const fileUrl = (cid) => `${BASE}files/${cid}`;

export const stateWord = (state) => STATE_WORDS[state] ?? state;

export function stateText({ state, copies, replicas }) {
  return state === 'safe' ? stateWord(state) : `${stateWord(state)} ${copies}/${replicas}`;
}

/** A moment of the wall clock: `09:39`, with its day when that is another. */
export function momentText(atMs) {
  const at = new Date(atMs);
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? time : `${at.toLocaleDateString()} ${time}`;
}

/** Why there are fewer copies than asked for, and what comes next; empty when there is nothing to say. */
export function whyText({ causes = [], replicas, verifiedAtMs }) {
  return causes
    .map((cause) => {
      const peers =
        cause.peers?.length === 1 ? shortId(cause.peers[0]) : plural(cause.count, 'peer');
      const are = cause.count === 1 ? 'is' : 'are';
      if (cause.kind === 'new') return 'its copies are being made';
      if (cause.kind === 'away')
        return `${peers} ${are} away; new copies from ${momentText(cause.repairFromMs)} if that stays so`;
      if (cause.kind === 'gone') return `${peers} ${are} gone; new copies are being made`;
      if (cause.kind === 'unproved')
        return `${peers} could not prove the copies that ${cause.count === 1 ? 'it says it holds' : 'they say they hold'}; new copies are being made`;
      if (cause.kind === 'few-peers')
        return `${plural(cause.count, 'peer')} can take copies, and it asks for ${replicas}`;
      if (cause.kind === 'joining')
        return 'this peer was started a moment ago, and has not heard from the others yet';
      if (cause.kind === 'aside')
        return `this peer stands aside, since another process runs under its identity, at ${cause.gateway}; ask there`;
      const date =
        verifiedAtMs === undefined
          ? 'nothing is known of its copies yet'
          : `copies as of ${momentText(verifiedAtMs)}`;
      return `no answer from ${peers}; ${date}`;
    })
    .join('; ');
}

/** The losses that a file survives. A list's entry says only its copies, each of them at another peer. */
export function survivalText({ copies, survivesPeers = Math.max(0, copies - 1) }) {
  if (copies === 0) return 'some of it is on no peer that is up';
  return survivesPeers === 0
    ? 'would not survive the loss of its peer'
    : `survives any ${plural(survivesPeers, 'peer')}`;
}

/** How safe a file is, in words, from the answer about its health. */
export function safetyText(health) {
  const { copies, disks } = health;
  if (copies === 0) return survivalText(health);
  const where =
    copies > 1 && disks === 1 ? ', all on one disk' : disks === 0 ? ', in memory only' : '';
  return `${copiesText(copies)}, ${survivalText(health)}${where}`;
}

/** Over how many disks and machines its copies are spread; empty when `safetyText` says all. */
export const spreadText = ({ disks, machines }) =>
  disks > 1 ? `, on ${plural(disks, 'disk')} of ${plural(machines, 'machine')}` : '';

/** The evidence for the number of copies. */
export const proofText = ({ proved, claimed }) =>
  `${proved} of ${copiesText(claimed)} that peers say they hold ${proved === 1 ? 'is' : 'are'} proved`;

/** How much a peer says it holds, and whether it failed to prove that. */
export const holdingText = ({ blocks, proof }, blocksTotal) =>
  `${blocks}/${plural(blocksTotal, 'block')}${proof === 'failed' ? ', could not prove it' : ''}`;
