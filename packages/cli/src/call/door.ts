/** The clients that may write at a peer that is being started, as its services will see it, and the warnings about it. */
import { join } from 'node:path';
import { loadConfig, PeerConfig } from '@shoal/chassis/config';
import { isThisMachine, readWriteToken } from '@shoal/chassis/own-token';
import type { Context } from '../context.ts';
import { PROGRAM } from '../terminal/program-name.ts';
import { shellWord } from '../terminal/shell-word.ts';

const Settings = PeerConfig.pick({
  READ: true,
  WRITE_TOKEN: true,
  WRITE_TOKEN_FILE: true,
  WRITE_OPEN: true,
  TOKENS_OVER_HTTP: true,
  GATEWAY_TLS_CERT_FILE: true,
  GATEWAY_HOST_NAMES: true,
});

export interface Door {
  /** A shell's words for the header that carries the token, with a blank behind; empty without one. */
  readonly curlFlag: string;
  /** Where people open the page of a gateway that answers there on this machine. */
  readonly pageAt: (origin: string) => string;
}

/**
 * Warns on stderr when every host of the network may write, or none of them may for want of HTTPS.
 * @throws ConfigError before anything is started, when the token that was given is none.
 */
export function openDoor(
  {
    host,
    keyFile,
    dataDir,
    isOpen,
  }: {
    readonly host: string;
    readonly keyFile: string;
    readonly dataDir: string;
    readonly isOpen: boolean;
  },
  { env, err, program = PROGRAM }: Pick<Context, 'env' | 'err' | 'program'>,
): Door {
  const given = loadConfig(Settings, env);
  const settings = { ...given, WRITE_OPEN: given.WRITE_OPEN || isOpen };
  const token = readWriteToken({ ...settings, BIND_HOST: host, SWARM_KEY_FILE: keyFile });
  if (token === undefined && !isThisMachine(host))
    err(`shoal: open: everyone who reaches ${host} may write and delete\n`);
  const hasHttps = !!given.GATEWAY_TLS_CERT_FILE;
  const pageAt = (origin: string): string => {
    const { hostname, port } = new URL(origin);
    const [name = hostname] = given.GATEWAY_HOST_NAMES;
    return hasHttps ? `https://${name}:${port}` : origin;
  };
  if (token === undefined) return { curlFlag: '', pageAt };
  if (!isThisMachine(host) && !hasHttps && given.TOKENS_OVER_HTTP === 'off')
    err(
      'shoal: other machines may read here, and not write: tokens are refused over plain HTTP; give the gateway a certificate (GATEWAY_TLS_CERT_FILE) or a proxy with one (TRUSTED_PROXIES), or set TOKENS_OVER_HTTP=on\n',
    );
  const { WRITE_TOKEN: text, WRITE_TOKEN_FILE: file } = given;
  const key = keyFile === join(dataDir, 'swarm.key') ? '' : ` --key-file ${shellWord(keyFile)}`;
  const derived = `$(${program} token --data-dir ${shellWord(dataDir)}${key})`;
  const source = text ? '$WRITE_TOKEN' : file ? `$(cat ${shellWord(file)})` : derived;
  return { curlFlag: `-H "Authorization: Bearer ${source}" `, pageAt };
}
