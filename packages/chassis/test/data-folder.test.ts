import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ConfigError } from '../src/process/config.ts';
import { DATA_FORM, openDataFolder } from '../src/process/data-folder.ts';

describe('a data folder', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'shoal-form-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  const file = () => join(dir, 'form');

  it.each(['', 'below/it'])(
    'that is new is marked with its form, also when it has to be made',
    (below) => {
      openDataFolder(join(dir, below));
      expect(readFileSync(join(dir, below, 'form'), 'utf8')).toBe(`${DATA_FORM}\n`);
      openDataFolder(join(dir, below));
      expect(readdirSync(join(dir, below))).toEqual(['form']);
    },
  );

  it('of before is taken, and marked', () => {
    writeFileSync(join(dir, 'identity.key'), 'x');
    writeFileSync(file(), '1\n');
    openDataFolder(dir);
    expect(readFileSync(file(), 'utf8')).toBe(`${DATA_FORM}\n`);
    expect(readFileSync(join(dir, 'identity.key'), 'utf8')).toBe('x');
  });

  it('of a newer Shoal is refused with what to do, and left as it is', () => {
    writeFileSync(file(), `${DATA_FORM + 1}\n`);
    expect(() => openDataFolder(dir)).toThrow(ConfigError);
    expect(() => openDataFolder(dir)).toThrow(
      /newer Shoal \(data of form 4.*start it with that version/,
    );
    expect(readFileSync(file(), 'utf8')).toBe(`${DATA_FORM + 1}\n`);
  });

  it.each(['', 'two', '0', '2.5', '-1', '1e3', '9'.repeat(20), '2\n3'])(
    'that says “%s” is refused: nobody knows what it is',
    (text) => {
      writeFileSync(file(), text);
      expect(() => openDataFolder(dir)).toThrow(/does not say which form/);
    },
  );
});
