/** `npm start` changes nothing outside of its folder unless somebody agreed. */
import { describe, expect, it } from '@jest/globals';
import { consentOf, isYes, withoutYes } from '../tools/consent.mjs';

const asked = { args: [], env: {}, isRoot: false, isTerminal: false };

describe('consent to sudo and global installs', () => {
  it('is missing where nobody can be asked', () => {
    expect(consentOf(asked)).toBe('missing');
    expect(consentOf({ ...asked, args: ['--peers', '3'], env: { HOME: '/home/x' } })).toBe(
      'missing',
    );
  });

  it('is asked for at a terminal', () => {
    expect(consentOf({ ...asked, isTerminal: true })).toBe('ask');
  });

  it.each([
    ['--yes', { args: ['--peers', '3', '--yes'] }],
    ['--yes that npm took', { env: { npm_config_yes: 'true' } }],
    ['CI', { env: { CI: 'true' } }],
    ['CI=1', { env: { CI: '1' } }],
    ['root', { isRoot: true }],
  ])('is given by %s, with or without a terminal', (_, more) => {
    for (const isTerminal of [true, false])
      expect(consentOf({ ...asked, isTerminal, ...more })).toBe('given');
  });

  it.each(['', '0', 'false'])('is not given by CI=%s', (CI) => {
    expect(consentOf({ ...asked, env: { CI } })).toBe('missing');
  });

  it('is a yes, and no other answer', () => {
    for (const answer of ['y', 'Y', 'yes\n', ' Yes ']) expect(isYes(answer)).toBe(true);
    for (const answer of ['', '\n', 'n', 'no', 'yesterday', 'ok?'])
      expect(isYes(answer)).toBe(false);
  });

  it('does not reach the program that is started', () => {
    expect(withoutYes(['--peers', '3', '--yes'])).toEqual(['--peers', '3']);
  });
});
