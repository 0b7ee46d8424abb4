/** Commands against a stand-in for a peer's gateway, which answers as the contract says. */
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  FileGone,
  FileOfAnother,
  FileNotFound,
  PROBLEM_TYPE,
  Problem,
  StorageFull,
  TokenRequired,
} from '@shoal/protocol';
import { runCli } from '../../src/cli.ts';
import type { Context } from '../../src/context.ts';
import { formatTime } from '../../src/terminal/format.ts';

const CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
const SHA256 = 'ab'.repeat(32);
const ENTRY = {
  cid: CID,
  kind: 'file',
  name: 'a.txt',
  sizeBytes: 5,
  sha256: SHA256,
  blocks: 1,
  replicas: 3,
  createdAtMs: 1,
  state: 'spreading',
  causes: [{ kind: 'new' }],
  copies: 2,
};
const DRAIN = {
  isDraining: true,
  isDrained: false,
  filesTotal: 2,
  filesLeft: 2,
  filesBelow: 0,
  blocksLeft: 9,
};
const UPKEEP = {
  scrub: { intervalMs: 1000, bytesPerSecondMax: 1000, overdueBlocks: 0 },
  damaged: { blocks: 0, cids: [] },
  healedBlocks: 0,
  sweep: { intervalMs: 1000, graceMs: 1000 },
};
const ROUND = {
  startedAtMs: 5,
  endedAtMs: 6,
  checkedBlocks: 1,
  checkedBytes: 1,
  damagedBlocks: 0,
};
const SWEEP = {
  isDryRun: true,
  startedAtMs: 1,
  durationMs: 1,
  pins: 0,
  reachedBlocks: 0,
  leasedBlocks: 0,
  condemnedBlocks: 0,
  condemnedBytes: 0,
  deletedBlocks: 0,
  deletedBytes: 0,
};

interface Asked {
  readonly line: string;
  readonly body: string;
  readonly authorization: string | undefined;
}

describe('commands about files and upkeep', () => {
  const asked: Asked[] = [];
  /** Answers by request line, used up from the front; the last one stays. */
  let answers: Record<string, unknown[]> = {};
  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      const line = `${request.method} ${request.url}`;
      const { authorization } = request.headers;
      asked.push({ line, body, authorization });
      const queue = answers[line] ?? [];
      const answer = queue.length > 1 ? queue.shift() : queue[0];
      const isProblem = answer instanceof Problem;
      response.writeHead(isProblem ? answer.status : answer === undefined ? 404 : 200, {
        'content-type': isProblem ? PROBLEM_TYPE : 'application/json',
      });
      response.end(JSON.stringify(isProblem ? answer.toBody('urn:request:1') : (answer ?? {})));
    });
  });
  let peer = '';
  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    peer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => {
    asked.length = 0;
    answers = {};
  });
  const shoal = (...argv: string[]) => shoalIn({}, ...argv);
  const shoalIn = (env: Readonly<Record<string, string>>, ...argv: string[]) =>
    shoalAs({ env }, ...argv);
  const shoalAs = async (own: Partial<Context>, ...argv: string[]) => {
    let out = '';
    let err = '';
    const exitCode = await runCli([...argv, '--peer', peer], {
      env: {},
      cwd: '/nowhere',
      out: (text) => (out += text),
      err: (text) => (err += text),
      isWatched: false,
      ...own,
    });
    return { exitCode, out, err };
  };

  it('rm deletes each file, and says which one it could not', async () => {
    answers[`DELETE /files/${CID}`] = [{ cid: CID, name: 'a.txt', deletedAtMs: 1 }];
    answers[`DELETE /files/${SHA256}`] = [new FileNotFound({ hash: SHA256, peersAsked: 2 })];
    const { exitCode, out, err } = await shoal('rm', SHA256, CID);
    expect({ exitCode, out }).toEqual({ exitCode: 1, out: '' });
    expect(err).toMatch(new RegExp(`^shoal: ${SHA256}: no file .*\n$`));
    expect(asked.map(({ line }) => line)).toEqual([
      `DELETE /files/${SHA256}`,
      `DELETE /files/${CID}`,
    ]);
    const json = await shoal('rm', CID, '--json');
    expect(JSON.parse(json.out)).toEqual({ cid: CID, name: 'a.txt', deletedAtMs: 1 });
    expect(json.exitCode).toBe(0);
  });

  it('rm --now asks for a purge; undelete brings files back, and says which it could not', async () => {
    answers[`DELETE /files/${CID}?now=true`] = [{ cid: CID, name: 'a.txt', deletedAtMs: 1 }];
    expect((await shoal('rm', CID, '--now')).exitCode).toBe(0);
    answers[`POST /files/${CID}/undelete`] = [ENTRY];
    answers[`POST /files/${SHA256}/undelete`] = [new FileGone({ hash: SHA256, why: 'deleted' })];
    const { exitCode, out, err } = await shoal('undelete', SHA256, CID, '--json');
    expect({ exitCode, file: JSON.parse(out) }).toEqual({ exitCode: 1, file: ENTRY });
    expect(err).toBe(
      `shoal: ${SHA256}: file ${SHA256} was deleted; upload it again to have it back\n`,
    );
    expect((await shoal('undelete')).exitCode).toBe(64);
  });

  it('ls shortens names to the terminal that it writes to, and leaves them whole elsewhere', async () => {
    const name = `${'x'.repeat(251)}.pdf`;
    const file = { ...ENTRY, name, deletedAtMs: 1, purgeAtMs: 2 };
    for (const [query, more] of [
      ['', []],
      ['&deleted=true', ['--deleted']],
    ] as const) {
      answers[`GET /files?limit=1000${query}`] = [{ total: 1, files: [file] }];
      const narrow = await shoalAs({ resultColumns: () => 160 }, 'ls', ...more);
      expect(Math.max(...narrow.out.split('\n').map((line) => line.length))).toBe(160);
      expect(narrow.out).toMatch(/^x+…x+\.pdf /m);
      for (const resultColumns of [undefined, () => undefined])
        expect(
          (await shoalAs(resultColumns === undefined ? {} : { resultColumns }, 'ls', ...more)).out,
        ).toContain(`${name}  `);
    }
  });

  it('ls says that the list of a peer without room may lack files, and its JSON too', async () => {
    const reply = { total: 1, files: [ENTRY], incomplete: 'the disk is full' };
    answers['GET /files?limit=1000'] = [reply];
    const said = 'shoal: the list may lack files: the disk is full\n';
    expect(await shoal('ls')).toMatchObject({ exitCode: 0, err: said });
    const { out, err } = await shoal('ls', '--json');
    expect([JSON.parse(out), err]).toEqual([reply, said]);
  });

  it('rm says for whom a file stays, and who may delete one that this peer may not', async () => {
    const peerId = '12D3KooWEGrzgVSMmfCxMBaLmRcJYCNqtvjdgMXeqwdzDYRQfEgP';
    answers[`DELETE /files/${CID}`] = [
      { cid: CID, name: 'a.txt', deletedAtMs: 1, keptBy: [peerId] },
      new FileOfAnother({ hash: CID, authors: [{ peerId, name: 'attic' }] }),
    ];
    const kept = await shoalAs({ isWatched: true }, 'rm', CID);
    expect(kept.exitCode).toBe(0);
    expect(kept.err).toContain(`no longer kept for this peer; it stays for ${peerId}`);
    const { exitCode, err } = await shoal('rm', CID);
    expect(exitCode).toBe(1);
    expect(err).toContain(`was put through attic (${peerId})`);
    expect(err).toContain('ask there, at a peer that may change all files');
  });

  it('rm and what it says to type name the command line as it is called', async () => {
    answers[`DELETE /files/${CID}`] = [
      { cid: CID, name: 'a.txt', deletedAtMs: 1, purgeAtMs: Date.now() },
    ];
    const program = 'npm run -s shoal --';
    const { err } = await shoalAs({ program, isWatched: true }, 'rm', CID);
    expect(err).toContain(`brought back: npm run -s shoal -- undelete ${CID}\n`);
  });

  it('ls --deleted lists what can be brought back, and until when', async () => {
    const purgeAtMs = Date.now() + 5 * 86_400_000;
    const deleted = { ...ENTRY, deletedAtMs: Date.now() - 2 * 86_400_000, purgeAtMs };
    answers['GET /files?limit=1000&deleted=true'] = [{ total: 1, files: [deleted] }];
    const { exitCode, out } = await shoal('ls', '--deleted');
    const [heading = '', line = ''] = out.split('\n');
    expect(exitCode).toBe(0);
    expect(heading.split(/ +/)).toEqual(['NAME', 'SIZE', 'COPIES', 'DELETED', 'PURGED', 'CID']);
    expect(line).toContain(`48 h ago  ${formatTime(purgeAtMs)}  ${CID}`);
  });

  it.each([
    ['rm', CID],
    ['undelete', CID],
    ['set', CID, '--replicas', '5'],
    ['drain'],
    ['drain', '--cancel'],
    ['scrub'],
    ['sweep'],
  ])('%s %s carries the token of SHOAL_TOKEN, or of a file', async (...argv) => {
    const refused = new TokenRequired({});
    for (const method of ['DELETE', 'PATCH', 'POST'])
      for (const path of [
        `/files/${CID}`,
        `/files/${CID}/undelete`,
        '/drain',
        '/scrub',
        '/sweep?dryRun=false',
      ])
        answers[`${method} ${path}`] = [refused];
    const first = await shoalIn({ SHOAL_TOKEN: 'one-token-of-many' }, ...argv);
    expect(first.exitCode).toBe(1);
    expect(first.err).toContain('SHOAL_TOKEN or --token-file');
    const file = join(mkdtempSync(join(tmpdir(), 'shoal-')), 'token');
    writeFileSync(file, 'another-token\n');
    await shoalIn({ SHOAL_TOKEN: 'one-token-of-many' }, ...argv, '--token-file', file);
    await shoalIn({ SHOAL_TOKEN: '' }, ...argv);
    const sent = asked.map(({ authorization }) => authorization);
    expect(sent).toEqual(
      expect.arrayContaining(['Bearer one-token-of-many', 'Bearer another-token', undefined]),
    );
  });

  it('a token file that is absent or holds no token is a mistake in the command', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'shoal-')), 'token');
    expect((await shoal('rm', CID, '--token-file', file)).exitCode).toBe(64);
    writeFileSync(file, 'two words');
    expect((await shoal('rm', CID, '--token-file', file)).err).toMatch(/printable characters/);
    expect(asked).toEqual([]);
  });

  it('set sends what was named and nothing else', async () => {
    answers[`PATCH /files/${CID}`] = [ENTRY];
    expect(await shoal('set', CID, '--replicas', '5')).toEqual({ exitCode: 0, out: '', err: '' });
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual({ replicas: 5 });
    const { out } = await shoal('set', CID, '--name', 'b.txt', '--expires', 'never', '--json');
    expect(JSON.parse(asked[1]?.body ?? '')).toEqual({ name: 'b.txt', expiresAt: null });
    expect(JSON.parse(out)).toEqual(ENTRY);
  });

  it('says, also to a script, that fewer copies can be kept than a command asks for', async () => {
    const few = {
      ...ENTRY,
      replicas: 9,
      causes: [{ kind: 'new' }, { kind: 'few-peers', count: 3 }],
    };
    const said = 'shoal: a.txt: 3 peers can take copies, and it asks for 9\n';
    answers[`PATCH /files/${CID}`] = [few];
    const set = await shoal('set', CID, '--replicas', '9');
    expect(set).toEqual({ exitCode: 0, out: '', err: said });
    expect((await shoal('set', CID, '--name', 'b.txt')).err).toBe('');
    answers['POST /pins'] = [{ ...few, url: `/files/${CID}` }];
    expect((await shoal('pin', CID, '--replicas', '9')).err).toBe(said);
    expect((await shoal('pin', CID)).err).toBe('');
  });

  it('stat prints the facts, or the answer as it is', async () => {
    const health = {
      ...ENTRY,
      confirmed: 2,
      proved: 1,
      claimed: 2,
      survivesPeers: 1,
      disks: 2,
      machines: 1,
      verifiedAtMs: Date.now(),
      holders: [],
    };
    answers[`GET /files/${CID}/health`] = [health];
    expect((await shoal('stat', CID)).out).toContain('state      spreading, 2 of 3 copies\n');
    expect(JSON.parse((await shoal('stat', CID, '--json')).out)).toEqual(health);
  });

  it('drain begins it and watches until the peer may go', async () => {
    answers['POST /drain'] = [DRAIN];
    answers['GET /drain'] = [DRAIN, { ...DRAIN, isDrained: true, filesLeft: 0, blocksLeft: 0 }];
    const { exitCode, out, err } = await shoal('drain');
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: '' });
    expect(out).toContain('may be stopped for good');
    expect(asked.map(({ line }) => line)).toEqual(['POST /drain', 'GET /drain', 'GET /drain']);
  });

  it('drain fails when somebody calls it off', async () => {
    answers['POST /drain'] = [DRAIN];
    answers['GET /drain'] = [{ ...DRAIN, isDraining: false }];
    expect(await shoal('drain')).toEqual({
      exitCode: 1,
      out: 'this peer stays: it is not draining\n',
      err: '',
    });
  });

  it('drain --status and --cancel ask once', async () => {
    answers['GET /drain'] = [DRAIN];
    answers['DELETE /drain'] = [{ ...DRAIN, isDraining: false }];
    expect((await shoal('drain', '--status')).out).toContain('2 of 2 files left');
    expect(JSON.parse((await shoal('drain', '--cancel', '--json')).out).isDraining).toBe(false);
    expect(asked.map(({ line }) => line)).toEqual(['GET /drain', 'DELETE /drain']);
  });

  it('drain, told to end, stops the watching only and says so', async () => {
    answers['POST /drain'] = [DRAIN];
    answers['GET /drain'] = [DRAIN];
    const watching = shoal('drain');
    await untilAsked('GET /drain');
    process.emit('SIGINT');
    const { exitCode, out, err } = await watching;
    expect({ exitCode, out }).toEqual({ exitCode: 1, out: '' });
    expect(err).toMatch(/^the peer goes on handing over/);
    expect(asked.map(({ line }) => line)).not.toContain('DELETE /drain');
  });

  it('scrub watches its round and fails when damage stays', async () => {
    const { endedAtMs: _, ...begun } = ROUND;
    const over = { ...UPKEEP, scrub: { ...UPKEEP.scrub, round: ROUND, lastWhole: ROUND } };
    answers['POST /scrub'] = [begun];
    answers['GET /upkeep'] = [{ ...UPKEEP, scrub: { ...UPKEEP.scrub, round: begun } }, over];
    expect(await shoal('scrub')).toEqual({
      exitCode: 0,
      out: '1 block checked (1 B), 0 damaged\n',
      err: '',
    });
  });

  it('sweep tells a dry run from a round, and fails when it is held up', async () => {
    answers['POST /sweep?dryRun=true'] = [SWEEP];
    answers['POST /sweep?dryRun=false'] = [{ ...SWEEP, isDryRun: false, heldUpBy: 'pins' }];
    const dry = await shoal('sweep', '--dry-run');
    expect(dry).toMatchObject({ exitCode: 0, out: expect.stringContaining('would be deleted') });
    expect(await shoal('sweep')).toMatchObject({ exitCode: 1, out: 'nothing was done: pins\n' });
  });

  it('says which peers have room when this one is full', async () => {
    const peersWithRoom = [{ peerId: 'p', gateway: 'http://other.test:7100', freeBytes: 1 }];
    answers[`PATCH /files/${CID}`] = [
      new StorageFull({ limit: 'disk space', freeBytes: 0, peersWithRoom }),
    ];
    const { exitCode, err } = await shoal('set', CID, '--replicas', '2');
    expect(exitCode).toBe(1);
    expect(err).toContain('http://other.test:7100');
  });

  async function untilAsked(line: string): Promise<void> {
    while (!asked.some((each) => each.line === line)) await once(server, 'request');
  }
});

async function readBody(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const piece of request as AsyncIterable<Buffer>) body += piece.toString();
  return body;
}
