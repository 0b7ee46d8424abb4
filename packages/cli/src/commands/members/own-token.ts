/** `shoal token`: the token with all rights of the peer whose folder or key is here. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig, PeerConfig, readSwarmKey } from '@shoal/chassis/config';
import { derivePeerToken, deriveWriteToken, readGivenToken } from '@shoal/chassis/own-token';
import type { Context } from '../../context.ts';
import { CommandFailure } from '../../failure.ts';
import { defaultDataDir } from '../../launch/data-dir.ts';
import { readHexKey } from '../../launch/swarm-key.ts';
import { readPath } from '../../options.ts';

const Settings = PeerConfig.pick({ WRITE_TOKEN: true, WRITE_TOKEN_FILE: true });

/** Where it is looked for. */
export interface Places {
  readonly 'key-file'?: string;
  readonly 'data-dir'?: string;
}

/** @throws CommandFailure, ConfigError, UsageError */
export async function ownToken(places: Places, context: Context): Promise<string> {
  const given = readGivenToken(loadConfig(Settings, context.env));
  if (given !== undefined) return given;
  const peer = await findOwnedPeer(places, context);
  return peer === undefined ? deriveWriteToken(findKey(places, context)) : derivePeerToken(peer);
}

/** The folder of a peer in a swarm that has an owner, or of the first one of a swarm on this machine. */
async function findOwnedPeer(
  { 'key-file': file, 'data-dir': folder }: Places,
  context: Context,
): Promise<string | undefined> {
  const { SWARM_KEY_FILE: mounted, SWARM_KEY: hex } = context.env;
  if (folder === undefined && (file || mounted || hex)) return undefined;
  const { readRosterFile } = await import('@shoal/chassis/roster');
  const root = readPath(folder ?? defaultDataDir(context), context);
  return [root, join(root, 'peer-1')].find(
    (each) => existsSync(join(each, 'identity.key')) && readRosterFile(each).isClosed,
  );
}

/** In the order in which `shoal peer` looks for it. */
function findKey({ 'key-file': file, 'data-dir': folder }: Places, context: Context): Uint8Array {
  const { SWARM_KEY_FILE: mounted, SWARM_KEY: hex } = context.env;
  if (file !== undefined) return readKey(readPath(file, context));
  if (folder === undefined && mounted) return readKey(readPath(mounted, context));
  if (folder === undefined && hex) return readHexKey(hex);
  return readKey(join(readPath(folder ?? defaultDataDir(context), context), 'swarm.key'));
}

/** @throws CommandFailure where there is none; ConfigError where there is something else. */
function readKey(file: string): Uint8Array {
  if (existsSync(file)) return readSwarmKey(file);
  throw new CommandFailure(
    `there is no swarm key at ${file}: name the folder of a peer or a swarm with --data-dir, or its key with --key-file; the first start of a peer makes one`,
  );
}
