/** `npm start` changes nothing outside of its folder unless somebody agreed. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
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

describe('set-up, where all is there but pnpm for all projects', () => {
  let root: string;
  const program = (path: string, text: string) => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, 0o755);
  };
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'shoal-test-'));
    cpSync(new URL('../tools', import.meta.url), join(root, 'tools'), { recursive: true });
    mkdirSync(join(root, 'node_modules'));
    writeFileSync(join(root, 'pnpm-lock.yaml'), 'lock');
    const stamp = createHash('sha256').update('lock').update(`${process.platform} ${root}/`);
    program(join(root, '.setup/node_modules/.bin/pnpm'), 'echo 12.21.0');
    writeFileSync(join(root, '.setup/lockfile.sha256'), stamp.digest('hex'));
    program(join(root, 'bin/redis-server'), '');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const setUp = (env: Record<string, string>) => {
    const PATH = join(root, 'bin');
    const main = join(root, 'tools', 'setup.mjs');
    const { status, stderr } = spawnSync(process.execPath, [main], {
      env: { PATH, ...env },
      encoding: 'utf8',
    });
    return { status, stderr };
  };

  it('installs it with consent, says so, and does not ask again', () => {
    program(join(root, 'bin/npm'), `echo "$@" > ${root}/asked`);
    const { status, stderr } = setUp({ CI: '1' });
    expect([status, stderr]).toEqual([
      0,
      'pnpm is installed: "pnpm shoal …" is the command line\n',
    ]);
    expect(setUp({ CI: '1' })).toEqual({ status: 0, stderr: '' });
  });

  it('says what to do when that fails, and goes on', () => {
    program(join(root, 'bin/npm'), 'exit 243');
    const { status, stderr } = setUp({ CI: '1' });
    expect(status).toBe(0);
    expect(stderr).toMatch(/could not be installed.*to try again: sudo npm install --global pnpm@/);
  });
});
