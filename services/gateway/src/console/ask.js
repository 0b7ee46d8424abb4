/**
 * Asking this peer. Its refusals, and its silence, come back as sentences for a person.
 *
 * Not by packages/sdk: that checks answers against the schemas of packages/protocol, and with the library for
 * those it is three times the size of this whole page, and needs a bundler; the page has none.
 */

import { renewToken, showSignIn } from './sign-in.js';
import { token, tokenHeaders } from './token.js';

/** Longest wait for a list, so that a hung service shows. Past it: the page says that the peer does not answer. */
const ASK_TIMEOUT_MS = 15_000;
/** A sweep of a large peer takes minutes before it answers. Past it: as for a list. */
const TELL_TIMEOUT_MS = 600_000;

/** Gets JSON. @throws Error with a sentence to show. */
export function ask(path) {
  return fetchJson(path, { timeoutMs: ASK_TIMEOUT_MS });
}

/** Makes a change, with a JSON body or none, and gives the answer. @throws Error with a sentence to show. */
export function tell(method, path, body) {
  const json =
    body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
  return fetchJson(path, { method, timeoutMs: TELL_TIMEOUT_MS, ...json });
}

async function fetchJson(path, { method = 'GET', timeoutMs, headers, body }) {
  const signal = AbortSignal.timeout(timeoutMs);
  const json = { accept: 'application/json', ...headers };
  return (await send(method, path, { headers: json, body, signal })).json();
}

/** A refusal: its status, and a sentence to show. */
export class Refused extends Error {
  constructor(status, text) {
    super(sentenceOf(status, text));
    this.status = status;
  }
}

/** A read that needs a token. */
export class SignedOut extends Error {}

/**
 * One request, as who is signed in. A change waits for somebody who signs in; what is shown is asked for again then.
 * @throws Refused, or another Error with a sentence to show.
 */
export async function send(method, path, { headers, body, signal }) {
  const used = token();
  const answer = await fetch(path, {
    method,
    headers: { ...headers, ...tokenHeaders() },
    body,
    signal,
  }).catch((cause) => {
    throw new Error('This peer does not answer. Is it running? Trying again.', { cause });
  });
  if (answer.ok) return answer;
  const refused = new Refused(answer.status, await answer.text());
  if (answer.status !== 401) throw refused;
  if (/^(?:GET|HEAD)$/.test(method)) {
    if (token() === used) showSignIn(whyOf(used));
    throw new SignedOut('Sign in to see this.', { cause: refused });
  }
  if (!(await renewToken(used, whyOf(used)))) throw refused;
  // It may have waited for longer than its signal allows.
  return send(method, path, {
    headers,
    body,
    signal: signal?.aborted === true ? undefined : signal,
  });
}

/** Why a token is asked for. */
export const whyOf = (used) =>
  used === undefined
    ? 'This peer wants a token for that. An owner of the swarm makes one (shoal token create); the one of the peer itself does too (shoal token).'
    : 'That token is not, or no longer, good here. Sign in with another.';

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
