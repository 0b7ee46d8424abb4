/** How this peer looks after its blocks: scrub, sweep, and whether it is leaving. */
import { ask, tell } from './ask.js';
import { actionButton, byId, element, setText } from './build.js';
import { refreshSoon } from './refresh.js';
import { bytesText, plural, sinceText, spanText } from './words.js';

export async function refreshUpkeep() {
  const [upkeep, drain] = await Promise.all([ask('upkeep'), ask('drain')]);
  setText(byId('upkeep-scrub'), scrubText(upkeep.scrub));
  const damaged = byId('upkeep-damaged');
  damaged.className = upkeep.damaged.blocks === 0 ? '' : 'warn';
  damaged.title = upkeep.damaged.cids.join('\n');
  setText(damaged, damagedText(upkeep));
  setText(byId('upkeep-sweep'), sweepText(upkeep.sweep));
  const draining = byId('upkeep-drain');
  draining.hidden = !drain.isDraining;
  setText(draining, drain.isDraining ? drainText(drain) : '');
  byId('upkeep').hidden = false;
}

/** The buttons below it. */
export function addUpkeepButtons() {
  const fault = element('p', { className: 'fault', role: 'alert', hidden: true });
  const said = element('span', { className: 'quiet', role: 'status' });
  const scrubNow = actionButton('Scrub now', fault, async () => {
    await tell('POST', 'scrub');
    setText(said, 'The scrub has begun.');
    refreshSoon('upkeep');
  });
  const sweep = (isDryRun) => async () => {
    setText(said, 'Sweeping…');
    const report = await tell('POST', `sweep?dryRun=${isDryRun}`).catch((error) => {
      setText(said, '');
      throw error;
    });
    setText(said, `${isDryRun ? 'A sweep would do this' : 'Done'}: ${roundText(report)}.`);
    refreshSoon('upkeep', 'peers');
  };
  byId('upkeep-actions').append(
    scrubNow,
    actionButton('Sweep now', fault, sweep(false)),
    actionButton('Sweep, dry run', fault, sweep(true)),
    said,
  );
  byId('upkeep-actions').after(fault);
}

function scrubText({ intervalMs, oldestCheckAtMs, overdueBlocks, round, lastWhole }) {
  const parts = [`every ${spanText(intervalMs)}`];
  if (round !== undefined && round.endedAtMs === undefined)
    parts.push(`under way, ${plural(round.checkedBlocks, 'block')} checked`);
  parts.push(
    lastWhole?.endedAtMs === undefined
      ? 'no whole round yet'
      : `last whole round ${sinceText(lastWhole.endedAtMs)}: ${plural(lastWhole.checkedBlocks, 'block')}, ${lastWhole.damagedBlocks} damaged`,
  );
  if (oldestCheckAtMs !== undefined) parts.push(`oldest check ${sinceText(oldestCheckAtMs)}`);
  if (overdueBlocks > 0) parts.push(`${plural(overdueBlocks, 'block')} overdue`);
  return parts.join(' · ');
}

function damagedText({ damaged, healedBlocks }) {
  const healed = healedBlocks === 0 ? '' : `, ${healedBlocks} healed since the start`;
  return damaged.blocks === 0
    ? `none${healed}`
    : `${plural(damaged.blocks, 'block')} waiting to be replaced${healed}`;
}

function sweepText({ intervalMs, last }) {
  const every = `every ${spanText(intervalMs)}`;
  return last === undefined
    ? `${every} · none yet`
    : `${every} · last ${sinceText(last.startedAtMs)}: ${roundText(last)}`;
}

function roundText(report) {
  if (report.heldUpBy !== undefined) return `nothing, held up: ${report.heldUpBy}`;
  const { reachedBlocks, leasedBlocks, condemnedBlocks, deletedBlocks, deletedBytes } = report;
  const spared = leasedBlocks === 0 ? '' : `, ${leasedBlocks} spared as young or in an upload`;
  const size = deletedBlocks === 0 ? '' : ` (${bytesText(deletedBytes)})`;
  return `${plural(reachedBlocks, 'block')} kept${spared}, ${condemnedBlocks} condemned, ${deletedBlocks} deleted${size}`;
}

function drainText({ isDrained, filesLeft, filesTotal, blocksLeft, heldUpBy }) {
  if (isDrained)
    return 'Drained: the other peers hold everything, this peer may be stopped for good.';
  const heldUp = heldUpBy === undefined ? '' : `, held up: ${heldUpBy}`;
  return `Draining: ${filesLeft} of ${plural(filesTotal, 'file')} left to hand over, ${plural(blocksLeft, 'block')}${heldUp}.`;
}
