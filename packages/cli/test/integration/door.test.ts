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
  const { curlFlag, pageAt } = openDoor(
    { host, keyFile, dataDir: folder, isOpen },
    { env, err: (text) => void (err += text) },
  );
  return { curlFlag, pageAt, err };
}

describe('who may write at a peer that is started', () => {
  it('is everybody on this machine, and nothing is said of it', () => {
    expect(open('127.0.0.1')).toMatchObject({ curlFlag: '', err: '' });
    expect(open('::1', { isOpen: true })).toMatchObject({ curlFlag: '', err: '' });
  });

  it('is who has the token, on a network, and the line to type has it', () => {
    const { curlFlag, err } = open('0.0.0.0', { env: { TOKENS_OVER_HTTP: 'on' } });
    expect(err).toBe('');
    expect(curlFlag).toBe(
      `-H "Authorization: Bearer $(shoal token --data-dir ${folder} --key-file '${folder}/the swarm.key')" `,
    );
  });

  it('is nobody on a network without HTTPS, and that is said', () => {
    expect(open('0.0.0.0').err).toContain('TOKENS_OVER_HTTP=on');
    expect(open('0.0.0.0', { isOpen: true }).err).not.toContain('TOKENS_OVER_HTTP');
    const env = {
      GATEWAY_TLS_CERT_FILE: '/etc/cert.pem',
      GATEWAY_HOST_NAMES: 'files.team.example',
    };
    const { err, pageAt } = open('0.0.0.0', { env });
    expect(err).toBe('');
    expect(pageAt('http://127.0.0.1:7100')).toBe('https://files.team.example:7100');
    expect(open('127.0.0.1').pageAt('http://127.0.0.1:7100')).toBe('http://127.0.0.1:7100');
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
