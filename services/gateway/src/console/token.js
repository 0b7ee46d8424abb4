/**
 * The token of who is signed in: kept until the tab is closed, or in this browser for those who want that. One may come
 * in the address (`#token=…`, which no server is sent); it is taken out of there at once, so that no bookmark, history
 * or shared screen has it.
 */

const KEY = 'write-token';

takeFromAddress();

export const token = () => sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? undefined;

/** The headers of a request. */
export function tokenHeaders() {
  const given = token();
  return given === undefined ? {} : { authorization: `Bearer ${given}` };
}

export function keepToken(text, { stays }) {
  forgetToken();
  (stays ? localStorage : sessionStorage).setItem(KEY, text);
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

function takeFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given === null) return;
  history.replaceState(undefined, '', location.pathname + location.search);
  if (given !== '') sessionStorage.setItem(KEY, given);
}
