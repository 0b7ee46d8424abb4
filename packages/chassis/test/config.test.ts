import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import {
  ConfigError,
  loadConfig,
  openIdentity,
  PeerConfig,
  putAsideIdentity,
  readSwarmKey,
} from '../src/index.ts';

const freshDir = () => mkdtempSync(join(tmpdir(), 'shoal-'));

describe('configuration', () => {
  it('names every bad variable at once', () => {
    const load = () => loadConfig(PeerConfig, { PEER_ID: 'x', LOG_LEVEL: 'loud' });
    expect(load).toThrow(ConfigError);
    for (const name of ['PEER_ID', 'LOG_LEVEL', 'REDIS_SOCKET', 'STORAGE_URL'])
      expect(load).toThrow(new RegExp(name));
  });

  it('refuses a write token that is short or has blanks, and does not repeat it', () => {
    for (const token of ['short', 'has blanks in its middle', 'ü'.repeat(20), 'x'.repeat(257)]) {
      const load = () => loadConfig(PeerConfig, { WRITE_TOKEN: token });
      expect(load).toThrow(/16 to 256 printable characters/);
      expect(load).not.toThrow(new RegExp(token));
    }
  });

  it('takes a swarm key of 32 bytes and nothing else', () => {
    const file = join(freshDir(), 'swarm.key');
    expect(() => readSwarmKey(file)).toThrow(/can't read/);
    writeFileSync(file, 'ab'.repeat(31));
    expect(() => readSwarmKey(file)).toThrow(/64 hex digits/);
    writeFileSync(file, `${'ab'.repeat(32)}\n`);
    expect(readSwarmKey(file)).toHaveLength(32);
  });
});

describe('identity', () => {
  it('stays with its folder, and is nobody else’s to read', () => {
    const file = join(freshDir(), 'identity.key');
    const first = openIdentity(file);
    expect(first.peerId).toMatch(/^12D3Koo/);
    expect(openIdentity(file)).toEqual(first);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY/);
    expect(openIdentity(join(freshDir(), 'identity.key')).peerId).not.toBe(first.peerId);
  });

  it('is put aside once for a new one, and kept', () => {
    const file = join(freshDir(), 'identity.key');
    putAsideIdentity(file); // there is none yet
    const first = openIdentity(file);
    putAsideIdentity(file);
    const second = openIdentity(file);
    expect(second.peerId).not.toBe(first.peerId);
    expect(openIdentity(`${file}.old`)).toEqual(first);
    expect(() => putAsideIdentity(file)).toThrow(/got a new identity before/);
    expect(openIdentity(file)).toEqual(second);
  });

  it('that can’t be read is a clear error, not a new identity', () => {
    const file = join(freshDir(), 'identity.key');
    writeFileSync(file, 'garbage');
    expect(() => openIdentity(file)).toThrow(/restore it or remove it/);
    expect(readFileSync(file, 'utf8')).toBe('garbage');
  });
});
