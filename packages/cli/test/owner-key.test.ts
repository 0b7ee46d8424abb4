import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  createRecoveryKey,
  ensureOwnerKey,
  findOwnerKey,
  readOwnerKey,
  readRecoveryKey,
} from '../src/rights/owner-key.ts';

describe('the recovery key', () => {
  it('is the same however it was written down', () => {
    for (let times = 0; times < 50; times += 1) {
      const { text, key } = createRecoveryKey();
      expect(text).toMatch(/^(?:[a-z2-7]{4}-){7}[a-z2-7]{4}$/);
      for (const written of [text, text.toUpperCase(), text.replaceAll('-', ''), ` ${text}\n`])
        expect(readRecoveryKey(written).id).toBe(key.id);
    }
  });

  it('is refused when a letter is wrong, or lacks', () => {
    const { text } = createRecoveryKey();
    for (const at of [0, 7, text.length - 1]) {
      const other = text[at] === 'q' ? 'w' : 'q';
      for (const wrong of [text.slice(0, at) + other + text.slice(at + 1), text.slice(1), ''])
        expect(() => readRecoveryKey(wrong)).toThrow(/no recovery key/);
    }
  });
});

describe('the key of an owner', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-owner-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('is made once, for its person alone, and is where that person’s settings are', () => {
    const context = { env: { XDG_CONFIG_HOME: folder } };
    expect(findOwnerKey(context)).toBeUndefined();
    expect(() => readOwnerKey(context)).toThrow(/none at .*shoal\/owner\.key/);
    const { id, file } = ensureOwnerKey(context);
    expect(file).toBe(join(folder, 'shoal', 'owner.key'));
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(ensureOwnerKey(context).id).toBe(id);
    expect(readOwnerKey({ env: { SHOAL_CONFIG_DIR: join(folder, 'shoal') } }).id).toBe(id);
  });
});
