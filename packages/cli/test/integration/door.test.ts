import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openDoor } from '../../src/call/door.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-test-'));
  writeFileSync(join(folder, 'the swarm.key'), '5a'.repeat(32));
});
afterAll(() => rmSync(folder, { recursive: true }));

function open(host: string, { isOpen = false, env = {} } = {}) {
  let err = '';
  const keyFile = join(folder, 'the swarm.key');
  const { curlFlag } = openDoor(
    { host, keyFile, dataDir: folder, isOpen },
    { env, err: (text) => (err += text) },
  );
  return { curlFlag, err };
}

describe('who may write at a peer that is started', () => {
  it('is everybody on this machine, and nothing is said of it', () => {
    expect(open('127.0.0.1')).toEqual({ curlFlag: '', err: '' });
    expect(open('::1', { isOpen: true })).toEqual({ curlFlag: '', err: '' });
  });

  it('is who has the token, on a network, and the line to type has it', () => {
    const { curlFlag, err } = open('0.0.0.0');
    expect(err).toBe('');
    expect(curlFlag).toBe(
      `-H "Authorization: Bearer $(shoal token --data-dir ${folder} --key-file '${folder}/the swarm.key')" `,
    );
  });

  it('is said when it is whoever is on the network', () => {
    for (const how of [{ isOpen: true }, { env: { WRITE_OPEN: 'true' } }]) {
      const { curlFlag, err } = open('192.0.2.7', how);
      expect(curlFlag).toBe('');
      expect(err).toContain('everyone who reaches 192.0.2.7 may write');
    }
  });

  it('is who has the token that was given, open or not', () => {
    const env = { WRITE_TOKEN: 'a-token-of-my-own' };
    expect(open('0.0.0.0', { isOpen: true, env }).curlFlag).toContain('Bearer $WRITE_TOKEN"');
    const file = join(folder, 'write.token');
    writeFileSync(file, env.WRITE_TOKEN);
    expect(open('0.0.0.0', { env: { WRITE_TOKEN_FILE: file } }).curlFlag).toContain(
      `$(cat ${file})`,
    );
    expect(() => open('0.0.0.0', { env: { WRITE_TOKEN: 'short' } })).toThrow('WRITE_TOKEN');
  });
});
