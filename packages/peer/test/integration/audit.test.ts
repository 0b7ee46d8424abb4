/** The audit of a peer that listens on a network: what its five services note, as `GET /audit` and `shoal log` give it. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join, dirname } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { deriveWriteToken, readSwarmKey } from '@shoal/chassis';
import { type PeerAuditEvent, peerAudit } from '@shoal/protocol';
import { type OpenPeer, openPeer } from './every-route.ts';

const CLI = fileURLToPath(new URL('../../../cli/src/main.ts', import.meta.url));
const NAME = 'annual report.pdf';

let peer: OpenPeer;
let token: string;
beforeAll(async () => {
  peer = await openPeer({ host: '0.0.0.0' });
  token = deriveWriteToken(readSwarmKey(peer.keyFile));
});
afterAll(async () => {
  await peer[Symbol.asyncDispose]();
});

const ask = (
  path: string,
  { method = 'GET', bearer = token, ...more }: RequestInit & { bearer?: string | undefined } = {},
) =>
  fetch(peer.peer.origins.gateway + path, {
    method,
    headers: bearer === '' ? {} : { authorization: `Bearer ${bearer}` },
    ...more,
  });

async function read(query = ''): Promise<{ events: PeerAuditEvent[]; next: string }> {
  const answer = await ask(`/audit${query}`);
  return peerAudit.reply.parse(await answer.json());
}

describe('the audit of a peer', () => {
  it('is for those who may write, though it is read', async () => {
    for (const bearer of ['', '0123456789abcdef']) {
      const { status, headers } = await ask('/audit', { bearer });
      expect([status, headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
    }
    expect((await ask('/audit')).status).toBe(200);
    const direct = await fetch(`${peer.peer.origins.discovery}/audit`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(direct.status).toBe(401);
  });

  it('has each change of a file, by whom, and what came of tokens and handshakes', async () => {
    const { next } = await read();
    const put = await ask(`/files/${encodeURIComponent(NAME)}?copies=1`, {
      method: 'PUT',
      body: 'x',
    });
    expect(put.status).toBe(201);
    const { cid } = (await put.json()) as { cid: string };
    await ask(`/files/${cid}`, {
      method: 'PATCH',
      body: '{"replicas":2}',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    });
    await ask(`/files/${cid}`, { method: 'DELETE' });
    await ask(`/files/${cid}/undelete`, { method: 'POST' });
    await ask(`/files/${cid}?now=true`, { method: 'DELETE' });
    expect(
      (await ask(`/files/${cid}`, { method: 'DELETE', bearer: 'not-the-token-here' })).status,
    ).toBe(401);
    const stranger = connect({
      port: Number(new URL(peer.peer.origins.storage).port),
      host: '127.0.0.1',
      rejectUnauthorized: false,
    });
    stranger.on('error', () => {}).resume();
    await once(stranger, 'close');

    const { events } = await read(`?after=${next}`);
    const told = events.map(({ service, kind, address, token: by, detail, name }) =>
      [service, kind, address, by, detail, name].filter((each) => each !== undefined),
    );
    const who = ['127.0.0.1', 'WRITE_TOKEN'];
    expect(told).toEqual([
      ['discovery', 'file-changed', ...who, 'replicas', NAME],
      ['discovery', 'file-deleted', ...who, NAME],
      ['discovery', 'file-undeleted', ...who, NAME],
      ['discovery', 'file-deleted', ...who, 'for good', NAME],
      ['gateway', 'token-refused', '127.0.0.1', 'token-wrong'],
      ['storage', 'handshake-refused', '127.0.0.1', 'no-certificate'],
    ]);
    const { events: used } = await read('?kind=token-used');
    expect(used.map(({ service, address, token: id }) => [service, address, id])).toEqual([
      ['gateway', ...who],
    ]);
    const { events: none, next: end } = await read(`?after=${(await read()).next}`);
    expect(none).toEqual([]);
    expect(end).toBe((await read()).next);
  });

  it('goes page by page through all services, and gives each event once', async () => {
    const whole = (await read('?limit=1000')).events;
    const seen: PeerAuditEvent[] = [];
    for (let after = 'gateway:0', isMore = true; isMore;) {
      const { events, next } = await read(`?after=${after}&limit=2`);
      seen.push(...events);
      isMore = events.length > 0;
      after = next;
    }
    const idOf = ({ service, seq }: PeerAuditEvent) => `${service} ${seq}`;
    expect(seen.map(idOf).toSorted()).toEqual(whole.map(idOf).toSorted());
    expect(seen.length).toBeGreaterThan(5);
  });

  it('is printed by shoal log', async () => {
    const env = { SHOAL_TOKEN: token };
    const run = async (...words: string[]) => {
      const argv = ['--no-warnings', CLI, 'log', '--peer', peer.peer.origins.gateway, ...words];
      return (await promisify(execFile)(process.execPath, argv, { env })).stdout;
    };
    const lines = (await run('--kind', 'file-deleted')).trim().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d {2}file-deleted {7}"annual report.pdf" {2}baf\w+ {2}for good {2}from 127\.0\.0\.1 {2}token WRITE_TOKEN$/,
    );
    const [first = ''] = (await run('--json', '--limit', '1')).split('\n');
    expect(JSON.parse(first)).toMatchObject({
      service: expect.any(String),
      seq: expect.any(Number),
    });
  });

  it('is counted, and kept where only the peer reads it', async () => {
    const metrics = await (await ask('/metrics')).text();
    expect(metrics).toMatch(
      /shoal_audit_events_total\{kind="token-refused",service="gateway"\} [1-9]/,
    );
    const file = join(dirname(peer.keyFile), 'audit', 'discovery.jsonl');
    expect(readFileSync(file, 'utf8')).not.toContain(token);
  });
});
