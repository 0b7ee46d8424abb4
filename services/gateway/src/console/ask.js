/**
 * Asking this peer. Its refusals, and its silence, come back as sentences for a person.
 *
 * Not by packages/sdk: that checks answers against the schemas of packages/protocol, and with the library for
 * those it is three times the size of this whole page, and needs a bundler; the page has none.
 */

import { renewToken, token, tokenHeaders } from './token.js';

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

/** One request, with the token if it writes. @throws Refused, or another Error with a sentence to show. */
export async function send(method, path, { headers, body, signal }) {
  const used = token();
  const authorization = /^(?:GET|HEAD)$/.test(method) ? {} : tokenHeaders();
  const answer = await fetch(path, {
    method,
    headers: { ...headers, ...authorization },
    body,
    signal,
  }).catch((cause) => {
    throw new Error('This peer does not answer. Is it running? Trying again.', { cause });
  });
  if (answer.ok) return answer;
  if (answer.status === 401 && renewToken(used))
    return send(method, path, { headers, body, signal });
  throw new Refused(answer.status, await answer.text());
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
