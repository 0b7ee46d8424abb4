import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { asTyped, programName } from '../src/terminal/program-name.ts';

const node = '/opt/node 24/bin/node';
const script = '/srv/shoal/packages/cli/dist/main.mjs';

describe('the words that call the command line again', () => {
  it('are the script of the project, for its npm start and its shoal', () => {
    for (const event of ['start', 'shoal']) {
      const env = { npm_lifecycle_event: event, npm_package_name: 'shoal', PATH: '' };
      expect(programName({ env, node, script })).toBe('npm run -s shoal --');
    }
  });

  it('are its name where it is installed, also in a script of another project', () => {
    const folder = mkdtempSync(join(tmpdir(), 'shoal-test-'));
    const env = { PATH: `/nowhere:${folder}`, npm_lifecycle_event: 'x', npm_package_name: 'other' };
    expect(programName({ env, node, script })).not.toBe('shoal');
    writeFileSync(join(folder, 'shoal'), '#!/bin/sh');
    expect(programName({ env, node, script })).not.toBe('shoal'); // no program
    chmodSync(join(folder, 'shoal'), 0o755);
    expect(programName({ env, node, script })).toBe('shoal');
    expect(programName({ env: {}, node, script: '/usr/local/bin/shoal' })).toBe('shoal');
  });

  it('are node and its path where there is neither', () => {
    expect(programName({ env: {}, node, script })).toBe(`'${node}' ${script}`);
  });

  it('stand in texts wherever a line is to be typed, and nowhere else', () => {
    const text = `shoal token [options]  print the token of shoal peers, as shoal does
Use it: export SHOAL_TOKEN=$(shoal token), or ask "shoal help <command>"`;
    expect(asTyped(text, 'npm run -s shoal --')).toBe(
      `npm run -s shoal -- token [options]  print the token of shoal peers, as shoal does
Use it: export SHOAL_TOKEN=$(npm run -s shoal -- token), or ask "npm run -s shoal -- help <command>"`,
    );
    expect(asTyped(text, 'shoal')).toBe(text);
  });
});
