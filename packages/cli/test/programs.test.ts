import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { CLI_MAIN, programOf } from '../src/launch/programs.ts';

/** The package that a program stands two folders deep in, there whether or not it was built. */
const manifestOf = (program: string) => join(dirname(dirname(program)), 'package.json');

describe('paths of the programs', () => {
  it.each(['gateway', 'chunker', 'storage', 'transfer', 'discovery'])(
    'lead from the sources to the package of %s',
    (service) => {
      expect(existsSync(manifestOf(programOf(`services/${service}`)))).toBe(true);
    },
  );

  it('lead to the command line', () => {
    expect(existsSync(manifestOf(CLI_MAIN))).toBe(true);
  });
});
