/** Asking this peer. What it refuses, and its silence, come back as sentences for a person. */

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

async function fetchJson(path, options) {
  const used = token();
  const response = await send(path, options);
  if (response.status === 401 && renewToken(used)) return fetchJson(path, options);
  if (!response.ok) throw new Error(sentenceOf(response.status, await response.text()));
  return response.json();
}

async function send(path, { method = 'GET', timeoutMs, headers = {}, body }) {
  const authorization = method === 'GET' ? {} : tokenHeaders();
  try {
    return await fetch(path, {
      method,
      body,
      headers: { accept: 'application/json', ...headers, ...authorization },
      signal: AbortSignal.timeout(timeoutMs),
    });
  } catch (cause) {
    throw new Error('This peer does not answer. Is it running? Trying again.', { cause });
  }
}

/** A problem (RFC 9457) as a sentence for a person. */
export function sentenceOf(status, text) {
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
