/** The write token of this peer: asked for when a write needs it, and kept until the tab is closed. */

const KEY = 'write-token';

export const token = () => sessionStorage.getItem(KEY) ?? undefined;

/** The headers of a write. */
export function tokenHeaders() {
  const given = token();
  return given === undefined ? {} : { authorization: `Bearer ${given}` };
}

/** After a 401 to a write that carried `used`: whether there is another token to try it with. */
export function renewToken(used) {
  if (token() !== used) return true; // another write asked meanwhile
  const given = prompt(
    used === undefined
      ? 'Writing to this peer needs its token (its setting WRITE_TOKEN, else what "shoal token" prints there):'
      : 'That was not the token of this peer. Its setting WRITE_TOKEN, else what "shoal token" prints there:',
  )?.trim();
  if (!given) return false;
  sessionStorage.setItem(KEY, given);
  return true;
}
