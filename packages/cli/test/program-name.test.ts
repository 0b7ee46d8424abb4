import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { asExplained, asTyped, programName } from '../src/terminal/program-name.ts';

const node = '/opt/node 24/bin/node';
const script = '/srv/shoal/packages/cli/dist/main.mjs';
const cwd = '/';

describe('the words that call the command line again', () => {
  it('are the script of the project, for its npm start and its shoal', () => {
    for (const event of ['start', 'shoal']) {
      const env = { npm_lifecycle_event: event, npm_package_name: 'shoal', PATH: '' };
      expect(programName({ env, node, script, cwd })).toBe('npm run -s shoal --');
      const byPnpm = { ...env, npm_config_user_agent: 'pnpm/10.1.0 npm/? node/v24.0.0' };
      expect(programName({ env: byPnpm, node, script, cwd })).toBe('pnpm shoal');
    }
  });

  it('are its name where it is installed, also in a script of another project', () => {
    const folder = mkdtempSync(join(tmpdir(), 'shoal-test-'));
    const env = { PATH: `/nowhere:${folder}`, npm_lifecycle_event: 'x', npm_package_name: 'other' };
    expect(programName({ env, node, script, cwd })).not.toBe('shoal');
    writeFileSync(join(folder, 'shoal'), '#!/bin/sh');
    expect(programName({ env, node, script, cwd })).not.toBe('shoal'); // no program
    chmodSync(join(folder, 'shoal'), 0o755);
    expect(programName({ env, node, script, cwd })).toBe('shoal');
    expect(programName({ env: {}, node, script: '/usr/local/bin/shoal', cwd })).toBe('shoal');
  });

  it('are node and its path where there is neither', () => {
    expect(programName({ env: {}, node, script, cwd })).toBe(`'${node}' ${script}`);
  });

  it('are the script too where somebody is in the project and calls its file', () => {
    const project = mkdtempSync(join(tmpdir(), 'shoal-test-'));
    const [bin, cli] = [join(project, 'bin'), join(project, 'packages/cli')];
    for (const folder of [bin, join(cli, 'src')]) mkdirSync(folder, { recursive: true });
    writeFileSync(join(project, 'package.json'), '{"name":"shoal"}');
    writeFileSync(join(cli, 'package.json'), '{"name":"@shoal/cli"}');
    const own = join(cli, 'src/main.ts');
    const called = (from: string) =>
      programName({ env: { PATH: bin }, node, script: own, cwd: from });
    expect(called(project)).toBe(`'${node}' ${own}`); // nothing there to run a script with
    for (const [name, words] of [
      ['npm', 'npm run -s shoal --'],
      ['pnpm', 'pnpm shoal'],
    ] as const) {
      writeFileSync(join(bin, name), '#!/bin/sh');
      chmodSync(join(bin, name), 0o755);
      expect(called(project)).toBe(words);
    }
    // Scripts there are those of another package, or of none.
    for (const from of [cli, '/']) expect(called(from)).toBe(`'${node}' ${own}`);
    symlinkSync(process.execPath, join(bin, 'node'));
    const running = { env: { PATH: bin }, node: realpathSync(process.execPath), script: own };
    expect(programName({ ...running, cwd: '/' })).toBe(`node ${own}`);
  });

  it('stand in texts wherever a line is to be typed, and nowhere else', () => {
    const text = `shoal token [options]  print the token of shoal peers, as shoal does
Use it: export SHOAL_TOKEN=$(shoal token), or ask "shoal help <command>"`;
    expect(asTyped(text, 'npm run -s shoal --')).toBe(
      `npm run -s shoal -- token [options]  print the token of shoal peers, as shoal does
Use it: export SHOAL_TOKEN=$(npm run -s shoal -- token), or ask "npm run -s shoal -- help <command>"`,
    );
    expect(asTyped(text, 'shoal')).toBe(text);
    expect(asExplained(text, 'pnpm shoal')).toBe(asTyped(text, 'pnpm shoal'));
    expect(asExplained(text, `${node} ${script}`)).toBe(text);
  });
});
