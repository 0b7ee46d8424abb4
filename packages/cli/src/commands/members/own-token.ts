import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig, PeerConfig, readSwarmKey } from '@shoal/chassis/config';
import { deriveWriteToken, readGivenToken } from '@shoal/chassis/own-token';
import { defineCommand } from '../../command.ts';
import type { Context } from '../../context.ts';
import { CommandFailure } from '../../failure.ts';
import { defaultDataDir } from '../../launch/data-dir.ts';
import { readPath } from '../../options.ts';
import { readHexKey } from '../../launch/swarm-key.ts';

const Settings = PeerConfig.pick({ WRITE_TOKEN: true, WRITE_TOKEN_FILE: true });

/** Prints the token that a peer on a network takes, of those who start it with the same settings. */
export const token = defineCommand({
  usage: `shoal token [options]          print the write token of the peers that have a swarm key
  --key-file F       the swarm key (default: SWARM_KEY_FILE, else SWARM_KEY, else D/swarm.key)
  --data-dir D       what the peer or the swarm was given as its own (default: ~/.local/share/shoal)
With WRITE_TOKEN or WRITE_TOKEN_FILE it prints that one, as a peer started here takes that one.
Use it: export SHOAL_TOKEN=$(shoal token)`,
  options: {
    'key-file': { type: 'string' },
    'data-dir': { type: 'string' },
  },
  async run({ values, context }) {
    const given = readGivenToken(loadConfig(Settings, context.env));
    context.out(`${given ?? deriveWriteToken(findKey(values, context))}\n`);
    return 0;
  },
});

/** In the order in which `shoal peer` looks for it. */
function findKey(
  { 'key-file': file, 'data-dir': folder }: { 'key-file'?: string; 'data-dir'?: string },
  context: Context,
): Uint8Array {
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
