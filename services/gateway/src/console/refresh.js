/**
 * Staying current: parts of the page that are asked for again, all of them every few seconds, and
 * those that an event concerns shortly after it. Without the event stream all are asked more often.
 */
import { SignedOut } from './ask.js';
import { byId, setText, showFault } from './build.js';

/** How often the parts are asked again with the event stream, and without it. */
const REFRESH_LIVE_MS = 10_000;
const REFRESH_POLL_MS = 3000;
/** Events come in bursts: one refresh for all within this time. */
const REFRESH_DELAY_MS = 300;

/** By name: what to do, where to say that it failed, and how it did when last tried. */
const parts = new Map();
const due = new Set();
let isLive = false;
let isRefreshing = false;
let soonTimer;
let nextTimer;

export function addPart(name, task, faultNode) {
  parts.set(name, { task, faultNode, fault: undefined });
}

/** Asks for all parts now, and from then on regularly. */
export async function refresh() {
  clearTimeout(nextTimer);
  for (const name of parts.keys()) due.add(name);
  await refreshDue();
  nextTimer = setTimeout(() => void refresh(), isLive ? REFRESH_LIVE_MS : REFRESH_POLL_MS);
}

/** Asks again shortly for these parts; many calls are one. */
export function refreshSoon(...names) {
  for (const name of names) due.add(name);
  if (soonTimer === undefined && !isRefreshing)
    soonTimer = setTimeout(() => void refreshDue(), REFRESH_DELAY_MS);
}

/** Whether events come: while they do, asking now and then is enough. */
export function setLive(live) {
  isLive = live;
  void refresh();
}

async function refreshDue() {
  if (isRefreshing) return;
  isRefreshing = true;
  clearTimeout(soonTimer);
  soonTimer = undefined;
  const names = [...due];
  due.clear();
  await Promise.all(names.map((name) => attempt(parts.get(name))));
  isRefreshing = false;
  const faults = [...parts.values()].map(({ fault }) => fault);
  const isDown = faults.every((fault) => fault !== undefined);
  const isOut = faults.every((fault) => fault instanceof SignedOut);
  setLine(isOut ? 'out' : isDown ? 'down' : isLive ? 'live' : 'poll');
  if (due.size > 0) refreshSoon();
}

async function attempt(part) {
  try {
    await part.task();
    part.fault = undefined;
    showFault(part.faultNode, undefined);
  } catch (error) {
    part.fault = error;
    showFault(part.faultNode, error);
  }
}

function setLine(state) {
  byId('line').dataset.state = state;
  const words = {
    live: 'live',
    poll: 'asking every few seconds',
    down: 'not answering',
    out: 'signed out',
  };
  setText(byId('line'), words[state]);
}
