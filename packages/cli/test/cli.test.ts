import { describe, expect, it } from '@jest/globals';
import PACKAGE from '../package.json' with { type: 'json' };
import { runCli } from '../src/cli.ts';
import { UsageError } from '../src/failure.ts';
import { peerPlans } from '../src/launch/launch-swarm.ts';
import { readPeerUrl } from '../src/call/peer-url.ts';
import { restartDelayMs } from '../src/launch/child/supervise.ts';

const run = (...argv: string[]) => runIn({}, ...argv);

async function runIn(env: Record<string, string>, ...argv: string[]) {
  let out = '';
  let err = '';
  const exitCode = await runCli(argv, {
    env,
    cwd: '/nowhere',
    out: (text) => (out += text),
    err: (text) => (err += text),
    isWatched: false,
  });
  return { exitCode, out, err };
}

describe('runCli', () => {
  it('lists its commands on stderr and exits 64 without one', async () => {
    const { exitCode, out, err } = await run();
    expect({ exitCode, out }).toEqual({ exitCode: 64, out: '' });
    expect(err).toContain('swarm');
  });

  it('explains a command on stdout', async () => {
    const { exitCode, out } = await run('help', 'swarm');
    expect(exitCode).toBe(0);
    expect(out).toContain('--base-port');
    expect((await run('swarm', '--help')).out).toBe(out);
  });

  it.each(['--version', '-V', 'version'])('says its version on %s', async (word) => {
    expect(await run(word)).toEqual({ exitCode: 0, out: `shoal ${PACKAGE.version}\n`, err: '' });
  });

  it('says its version behind every command too, and takes it as a name behind --', async () => {
    for (const command of ['ls', 'peer', 'swarm', 'token', 'add'])
      for (const word of ['--version', '-V'])
        expect((await run(command, word)).out).toBe(`shoal ${PACKAGE.version}\n`);
    expect((await run('ls', '--', '--version')).exitCode).toBe(64);
  });

  it('says of every option that there is not that there is none, and how it is written', async () => {
    for (const command of ['ls', 'peer', 'swarm', 'token', 'add', 'get', 'peers']) {
      const { exitCode, out, err } = await run(command, '--nosuch=1');
      expect([command, exitCode, out]).toEqual([command, 64, '']);
      expect(err).toMatch(
        new RegExp(`^shoal ${command}: there is no option "--nosuch"\n\nshoal ${command} `),
      );
    }
    expect((await run('--nosuch')).err).toMatch(/^shoal: there is no option "--nosuch"\n/);
    expect((await run('ls', '-x')).err).toContain('there is no option "-x"');
  });

  it('names itself in its lines as it is called here', async () => {
    let text = '';
    const add = (more: string) => void (text += more);
    const program = 'npm run -s shoal --';
    const context = { env: {}, cwd: '/', out: add, err: add, isWatched: false, program };
    await runCli(['help'], context);
    await runCli(['help', 'token'], context);
    await runCli(['ls', '--peer', '127.0.0.1:1'], context);
    expect(text).toContain('usage: npm run -s shoal -- <command>');
    expect(text).toContain('$(npm run -s shoal -- token)');
    expect(text).toContain('start one ("npm run -s shoal -- peer")');
    expect(text).not.toMatch(/["(]shoal /);
  });

  it.each(['help', '--help', '-h'])('gives the overview on stdout for %s', async (word) => {
    const { exitCode, out } = await run(word);
    expect(exitCode).toBe(0);
    expect(out).toContain('usage: shoal <command>');
    expect((await run('help', word)).out).toBe(out);
  });

  it.each([
    ['fly'],
    ['help', 'nosuch'],
    ['--help', 'nosuch'],
    ['help', 'constructor'],
    ['constructor'],
    ['add'],
    ['add', '--copies', '99', 'x'],
    ['add', '--name', 'x', 'a', 'b'],
    ['add', '-'],
    ['add', 'x', '--hidden'],
    ['import'],
    ['import', 'a.car', 'b.car'],
    ['import', 'a.car', '--copies', '99'],
    ['pin'],
    ['pin', 'a', 'b'],
    ['pin', 'a', '--gateway'],
    ['get'],
    ['get', 'not-a-hash'],
    ['get', 'a'.repeat(64), '--json', '-o', '-'],
    ['ls', 'extra'],
    ['peers', '--peer', 'http://'],
    ['swarm', '--peers', 'many'],
    ['swarm', '--peers', '100', '--base-port', '65000'],
    ['peer', '--seed', 'nowhere'],
    ['peer', '--colour'],
    ['token', 'x'],
    ['add', 'x', '--expires', 'soon'],
    ['add', 'x', '--expires', '2001-01-01'],
    ['stat'],
    ['stat', 'not-a-hash'],
    ['stat', 'a'.repeat(64), 'b'.repeat(64)],
    ['rm'],
    ['rm', 'a'.repeat(64), 'x'],
    ['set', 'a'.repeat(64)],
    ['set', 'a'.repeat(64), '--replicas', '0'],
    ['set', 'a'.repeat(64), '--name', '../x'],
    ['drain', '--status', '--cancel'],
    ['drain', 'now'],
    ['scrub', 'now'],
    ['sweep', '--dry'],
    ['upkeep', 'now'],
    ['log', '--kind', 'nonsense'],
    ['log', '--limit', '0'],
  ])('exits 64 and says why for: %s %s %s %s', async (...argv) => {
    const { exitCode, out, err } = await run(...argv);
    expect({ exitCode, out }).toEqual({ exitCode: 64, out: '' });
    expect(err).toMatch(/^shoal/);
  });

  it('says which file is missing and exits 1', async () => {
    const { exitCode, err } = await run('add', 'absent.txt', '--peer', '127.0.0.1:1');
    expect(exitCode).toBe(1);
    expect(err).toBe('shoal: absent.txt: there is no such file\n');
  });

  it('says that no peer answers and exits 1', async () => {
    const { exitCode, err } = await run('ls', '--peer', '127.0.0.1:1');
    expect(exitCode).toBe(1);
    expect(err).toContain('no peer answers at http://127.0.0.1:1');
    for (const command of ['peers', 'upkeep', 'log', 'drain', 'scrub', 'sweep'])
      expect((await run(command, '--peer', '127.0.0.1:1')).exitCode).toBe(1);
  });
});

describe('readPeerUrl', () => {
  const context = { env: {}, cwd: '/', out: () => {}, err: () => {}, isWatched: false };

  it('prefers the option, then SHOAL_PEER, then this machine', () => {
    const withEnv = { ...context, env: { SHOAL_PEER: 'https://a.example/' } };
    expect(readPeerUrl('b.example:80', withEnv)).toBe('http://b.example');
    expect(readPeerUrl(undefined, withEnv)).toBe('https://a.example');
    expect(readPeerUrl(undefined, context)).toBe('http://127.0.0.1:7100');
  });

  it('keeps the path of a proxy, and refuses what is more than a place', () => {
    expect(readPeerUrl('https://a.example/shoal/', context)).toBe('https://a.example/shoal');
    expect(readPeerUrl('[::1]:7100', context)).toBe('http://[::1]:7100');
    for (const text of ['a.example/?x=1', 'a.example/#x', 'http://me@a.example', '::1:7100'])
      expect(() => readPeerUrl(text, context)).toThrow(UsageError);
  });
});

describe('peerPlans', () => {
  it('gives peer i the ports B + 10·(i−1) … +5, and never itself as a seed', () => {
    const plans = peerPlans({
      peers: 7,
      basePort: 7100,
      host: '0.0.0.0',
      dataDir: '/d',
      keyFile: '/d/swarm.key',
    });
    expect(plans[2]).toMatchObject({
      dataDir: '/d/peer-3',
      ports: {
        gateway: 7120,
        chunker: 7121,
        storage: 7122,
        transfer: 7123,
        discovery: 7124,
        libp2p: 7125,
      },
    });
    for (const { seeds, ports } of plans) {
      expect(seeds.length).toBeGreaterThan(0);
      expect(seeds).not.toContain(`127.0.0.1:${ports.libp2p}`);
    }
  });
});

describe('seeds of a swarm', () => {
  it.each(['::1', '::', '0.0.0.0', 'fd00::2', 'peer.local'])('on %s are host and port', (host) => {
    const plans = peerPlans({ peers: 2, basePort: 7100, host, dataDir: '/d', keyFile: '/d/k' });
    for (const { seeds } of plans)
      for (const seed of seeds) expect(seed).toMatch(/^(?:\[[0-9a-f:]+\]|[^:[\]]+):\d+$/);
  });
});

describe('restartDelayMs', () => {
  it('begins at 300 ms, doubles, and stops at 5 s', () => {
    expect([0, 1, 2, 9].map(restartDelayMs)).toEqual([300, 600, 1200, 5000]);
  });
});

describe('shoal token', () => {
  const env = { SWARM_KEY: '5a'.repeat(32) };

  it('prints what a peer on a network takes', async () => {
    const { exitCode, out } = await runIn(env, 'token');
    expect([exitCode, out]).toEqual([0, '2de9ced6f3623ca4a836db36428000a66c92d098c4f24172\n']);
  });

  it('prints the token that was given instead', async () => {
    const given = { ...env, WRITE_TOKEN: 'a-token-of-my-own' };
    expect((await runIn(given, 'token')).out).toBe('a-token-of-my-own\n');
  });

  it('says which key it misses, and makes none', async () => {
    const { exitCode, out, err } = await runIn({}, 'token', '--data-dir', '/nowhere');
    expect([exitCode, out]).toEqual([1, '']);
    expect(err).toMatch(
      /^shoal: there is no swarm key at \/nowhere\/swarm\.key: .*--data-dir, .*--key-file;[^\n]*\n$/,
    );
    const named = await runIn({}, 'token', '--key-file', 'absent.key');
    expect([named.exitCode, named.err]).toEqual([
      1,
      expect.stringContaining('/nowhere/absent.key'),
    ]);
  });

  it('prints nothing for a token or a key that is none', async () => {
    for (const wrong of [{ SWARM_KEY: 'x' }, { ...env, WRITE_TOKEN: 'short' }])
      expect(await runIn(wrong, 'token')).toMatchObject({ exitCode: 1, out: '' });
  });
});
