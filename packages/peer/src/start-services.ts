/**
 * A peer's five services in the caller's process. They meet as they do when each is a process: over
 * HTTP on their own ports, and over queues on the peer's Redis. The difference is the price of a
 * start, and that they fall together.
 */
import assert from 'node:assert';
import {
  openService,
  type ProgramDefinition,
  type ServiceDefinition,
  type WriteLine,
} from '@shoal/chassis';
import { chunker } from '@shoal/chunker';
import { discovery } from '@shoal/discovery';
import { gateway } from '@shoal/gateway';
import { type Service, START_ORDER } from '@shoal/protocol';
import { storage } from '@shoal/storage';
import { transfer } from '@shoal/transfer';

const DEFINITIONS: Readonly<Record<Service, ServiceDefinition>> = {
  storage,
  discovery,
  transfer,
  chunker,
  gateway,
};

/**
 * Starts the services in the order in which they lean on each other; disposing stops them in the
 * reverse one. The environment is that of any of them: it names the peer, its Redis and all ports.
 * @throws ConfigError, and whatever keeps one of them from starting; those before it are stopped then.
 */
export async function startServices(
  env: Readonly<Record<string, string | undefined>>,
  {
    logOf,
  }: {
    /** Takes the log lines of a service; default: stdout. */
    readonly logOf?: (service: Service) => WriteLine;
  } = {},
): Promise<AsyncDisposable> {
  await using starting = new AsyncDisposableStack();
  for (const name of START_ORDER) {
    const options = logOf === undefined ? {} : { write: logOf(name) };
    starting.use(await openService(DEFINITIONS[name], env, options));
  }
  const running = starting.move();
  return { [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** The five services as one program, for a machine that has little memory. */
export const wholePeer: ProgramDefinition = {
  name: 'peer',
  configure(env) {
    // All settings are read before anything starts.
    const [first] = START_ORDER.map((name) => DEFINITIONS[name].configure(env));
    assert(first !== undefined, 'a peer has services');
    const { config } = first;
    return {
      config,
      async start() {
        const running = await startServices(env);
        return {
          origin: config.GATEWAY_URL,
          [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
        };
      },
    };
  },
};
