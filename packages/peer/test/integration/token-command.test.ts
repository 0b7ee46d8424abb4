/** `shoal token` and the commands that use its tokens, against a peer whose reads need one. */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { env } from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openIdentity } from '@shoal/chassis';
import { createTestRoster, programOf } from '@shoal/testkit';
import { type OpenPeer, openPeer } from './every-route.ts';

const SHOAL = programOf('packages/cli');
const owner = createTestRoster();

describe('the tokens of a command line', () => {
  let peer: OpenPeer;
  beforeAll(async () => {
    peer = await openPeer({}, { READ: 'token' }, (dataDir) => {
      owner.write(dataDir, [owner.add(openIdentity(join(dataDir, 'identity.key')).peerId)]);
      mkdirSync(join(dataDir, 'config'));
      writeFileSync(
        join(dataDir, 'config', 'owner.key'),
        owner.owner.privateKey.export({ type: 'pkcs8', format: 'pem' }),
        { mode: 0o600 },
      );
    });
  }, 120_000);
  afterAll(async () => {
    await peer[Symbol.asyncDispose]();
  });

  /** A command of the owner, or of somebody who has no key. */
  const shoal = (
    args: readonly string[],
    { token, isOwner = true }: { readonly token?: string; readonly isOwner?: boolean } = {},
  ) =>
    new Promise<{ code: number; out: string; err: string }>((resolve) => {
      const own = {
        PATH: env['PATH'],
        SHOAL_CONFIG_DIR: join(peer.dataDir, isOwner ? 'config' : 'nobody'),
        SHOAL_PEER: peer.peer.origins.gateway,
        ...(token === undefined ? {} : { SHOAL_TOKEN: token }),
      };
      execFile(process.execPath, [SHOAL, ...args], { env: own }, (error, out, err) =>
        resolve({ code: error === null ? 0 : Number(error.code), out, err }),
      );
    });
  const create = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await shoal(['token', 'create', '--name', 'a guest', ...args]);
    expect([code, err]).toEqual([0, '']);
    return out.trim();
  };

  it('are needed by all but an owner', async () => {
    expect(await shoal(['ls'], { isOwner: false })).toMatchObject({
      code: 1,
      err: expect.stringMatching(/wants a token with the right to read.*shoal token create/),
    });
    expect(await shoal(['ls'])).toMatchObject({ code: 0, err: '' });
    expect(await shoal(['sweep', '--dry-run'])).toMatchObject({ code: 0 });
  });

  it('open what they were made for, and nothing once they are revoked', async () => {
    const token = await create('--may', 'read', '--for', '1h');
    const guest = { token, isOwner: false };
    expect(await shoal(['ls', '--json'], guest)).toMatchObject({ code: 0 });
    expect(await shoal(['ls', '--token', token], { isOwner: false })).toMatchObject({ code: 0 });
    expect(await shoal(['sweep', '--dry-run'], guest)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/"a guest" has no right to administer/),
    });
    const { out } = await shoal(['token', 'check', token, '--json'], guest);
    expect(JSON.parse(out)).toMatchObject({ name: 'a guest', may: ['read'] });
    expect(await shoal(['token', 'revoke', token])).toMatchObject({ code: 0 });
    expect(await shoal(['ls'], guest)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/"a guest" was revoked/),
    });
    expect(await shoal(['token', 'check', token])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/was revoked/),
    });
  });

  it('are made by one that may administer, and end with it', async () => {
    const admin = await create('--may', 'admin');
    const file = join(peer.dataDir, 'admin.token');
    writeFileSync(file, admin);
    const made = await shoal(
      [
        'token',
        'create',
        '--name',
        'a box',
        '--may',
        'write',
        '--max-bytes',
        '1kB',
        '--with',
        file,
      ],
      { token: admin, isOwner: false },
    );
    const token = made.out.trim();
    const { out } = await shoal(['token', 'check', token, '--json']);
    expect(JSON.parse(out)).toMatchObject({ may: ['write'], maxBytes: 1000 });
    const { id } = JSON.parse((await shoal(['token', 'check', admin, '--json'])).out) as {
      id: string;
    };
    expect(await shoal(['token', 'revoke', id])).toMatchObject({ code: 0 });
    expect(await shoal(['token', 'check', token])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/was revoked/),
    });
  });

  it.each([
    ['without a name', ['create', '--may', 'read'], /--name/],
    ['without a right', ['create', '--name', 'x'], /--may takes/],
    [
      'with a right that there is not',
      ['create', '--name', 'x', '--may', 'read,fly'],
      /--may takes/,
    ],
    [
      'for what is no file',
      ['create', '--name', 'x', '--may', 'read', '--only', 'x'],
      /--only takes/,
    ],
    ['for no time', ['create', '--name', 'x', '--may', 'read', '--for', 'soon'], /--for takes/],
    [
      'of no size',
      ['create', '--name', 'x', '--may', 'write', '--max-bytes', 'much'],
      /--max-bytes/,
    ],
    ['that is none', ['revoke', 'x'], /neither a token/],
  ])('are refused %s', async (_, args, reason) => {
    expect(await shoal(['token', ...args])).toMatchObject({
      code: 64,
      err: expect.stringMatching(reason),
    });
  });

  it('with all rights is the peer’s own once the swarm has an owner', async () => {
    const { out } = await shoal(['token', '--data-dir', peer.dataDir], { isOwner: false });
    const guest = { token: out.trim(), isOwner: false };
    expect(await shoal(['sweep', '--dry-run'], guest)).toMatchObject({ code: 0 });
    const derived = await shoal(['token', '--key-file', peer.keyFile], { isOwner: false });
    expect(derived.out).not.toBe(out);
    expect(await shoal(['ls'], { token: derived.out.trim(), isOwner: false })).toMatchObject({
      code: 1,
      err: expect.stringMatching(/is not the token of this peer/),
    });
  });
});
