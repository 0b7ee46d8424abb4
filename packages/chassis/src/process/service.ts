/**
 * The definition of a service: `main.ts` runs it as a process, `@shoal/peer` opens it beside others
 * in the caller's process. Both go through `openService`, so both wire it alike.
 */
import type { Service } from '@shoal/protocol';
import type * as z from 'zod';
import { loadConfig, type PeerConfig } from './config.ts';
import { openDataFolder } from './data-folder.ts';
import { createLog, type Log, type WriteLine } from './log.ts';

/** A service that listens; disposing ends it in order. */
export interface RunningService extends AsyncDisposable {
  readonly origin: string;
}

/** A program that `runService` runs. */
export interface ProgramDefinition {
  readonly name: string;
  /**
   * Reads the settings, and answers what starts the service with them.
   * @throws ConfigError
   */
  configure(env: Readonly<Record<string, string | undefined>>): ConfiguredService;
}

export interface ServiceDefinition extends ProgramDefinition {
  readonly name: Service;
}

export interface ConfiguredService {
  /** Settings that all services of a peer share. */
  readonly config: PeerConfig;
  /** @throws ConfigError, and whatever keeps it from starting. */
  start(log: Log): Promise<RunningService>;
}

/** Ties a name, a schema of settings and what is started with them. */
export function defineService<S extends typeof PeerConfig>(
  name: Service,
  schema: S,
  start: (config: Readonly<z.infer<S>>, log: Log) => Promise<RunningService>,
): ServiceDefinition {
  return {
    name,
    configure(env) {
      const config = loadConfig(schema, env);
      return {
        config,
        async start(log) {
          openDataFolder(config.PEER_DATA_DIR);
          return await start(config, log);
        },
      };
    },
  };
}

/**
 * Opens a service in this process.
 * @throws ConfigError, and whatever keeps it from starting.
 */
export async function openService(
  definition: ServiceDefinition,
  env: Readonly<Record<string, string | undefined>>,
  { write }: { readonly write?: WriteLine } = {},
): Promise<RunningService> {
  const configured = definition.configure(env);
  const { config } = configured;
  const log = createLog(definition.name, config.LOG_LEVEL, { self: config.PEER_ID }, write);
  const running = await configured.start(log);
  log.info({ origin: running.origin }, 'listening');
  return {
    origin: running.origin,
    async [Symbol.asyncDispose]() {
      log.info('stopping');
      await running[Symbol.asyncDispose]();
      log.info('stopped');
    },
  };
}
