/** The form that asks for a token: shown when this peer refuses something without one, and until one is given. */
import { byId, setText } from './build.js';
import { forgetToken, keepToken, token } from './token.js';

/** Those who wait for a token, to try again what was refused. */
let waiting = [];
/** Said no for now: what is only shown doesn't ask again. */
let isPutOff = false;
let onChange = () => {};

/** `changed` is called when somebody signed in or out. */
export function addSignIn(changed) {
  onChange = changed;
  byId('sign-in').addEventListener('submit', (event) => {
    event.preventDefault();
    const text = byId('sign-in-token').value.trim();
    if (text === '') return;
    keepToken(text, { stays: byId('sign-in-stays').checked });
    settle(true);
  });
  byId('sign-in-cancel').addEventListener('click', () => {
    isPutOff = true;
    settle(false);
  });
  byId('sign-out').addEventListener('click', () => {
    if (token() === undefined) return open(byId('sign-in-why').textContent);
    forgetToken();
    location.reload(); // what was shown is not for who comes next
  });
  showWho();
}

/** Shows the form, with why; it asks for nothing that was given meanwhile. */
export function showSignIn(why) {
  if (!isPutOff) open(why);
}

/** After a refusal of what carried `used`: whether there is another token to try it with, which may take a while. */
export function renewToken(used, why) {
  if (token() !== used) return Promise.resolve(true); // somebody signed in meanwhile
  open(why);
  byId('sign-in').scrollIntoView({ block: 'nearest' });
  return new Promise((resolve) => {
    waiting.push(resolve);
  });
}

function open(why) {
  const form = byId('sign-in');
  setText(byId('sign-in-why'), why);
  if (!form.hidden) return;
  form.hidden = false;
  byId('sign-in-token').focus();
}

function settle(isGiven) {
  if (isGiven) isPutOff = false;
  byId('sign-in').hidden = true;
  byId('sign-in-token').value = '';
  const those = waiting;
  waiting = [];
  for (const resolve of those) resolve(isGiven);
  showWho();
  onChange();
}

function showWho() {
  const isIn = token() !== undefined;
  byId('sign-out').hidden = !isIn && !isPutOff;
  setText(byId('sign-out'), isIn ? 'Sign out' : 'Sign in');
}
