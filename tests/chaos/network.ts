/**
 * Hosts of its own for each peer: network namespaces on a bridge, which stands in a namespace of its
 * own too, so that the machine's own rules for forwarding have no say. This process reaches them all,
 * also when they can't reach one another.
 *
 * A cut drops what arrives from the other side: nothing is refused, packets are just gone, as when a
 * switch dies. Names carry this process's id.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const COMMAND_TIMEOUT_MS = 10_000;
/** Set aside for tests of networks (RFC 2544): no route of anybody's leads there. */
const SUBNET = `198.18.${process.pid % 256}`;
const OWN_ADDRESS = `${SUBNET}.254`;
const PREFIX = `shc${process.pid}`;
const HUB = `${PREFIX}-h`;

export interface Host {
  readonly address: string;
  /** What runs a program on this host. */
  readonly runThrough: readonly string[];
}

export interface Network extends AsyncDisposable {
  readonly hosts: readonly Host[];
  /** These hosts and the others no longer hear each other. */
  cut(side: ReadonlySet<number>): Promise<void>;
  heal(): Promise<void>;
}

/** Why no network can be made here; undefined when one can. */
export async function whyNoNetwork(): Promise<string | undefined> {
  const probe = `${PREFIX}-p`;
  try {
    await ip('netns', 'add', probe);
  } catch (error) {
    return `no network namespaces: ${reasonOf(error)}`;
  }
  try {
    await ip('netns', 'exec', probe, 'iptables', '-L', '-n');
    await ip('-n', probe, 'link', 'add', 'bridge', 'type', 'bridge');
    return undefined;
  } catch (error) {
    return `no bridge or no iptables: ${reasonOf(error)}`;
  } finally {
    await ip('netns', 'del', probe);
  }
}

export async function openNetwork(count: number): Promise<Network> {
  await using opening = new AsyncDisposableStack();
  const addHost = async (name: string): Promise<void> => {
    await ip('netns', 'add', name);
    opening.defer(() => ip('netns', 'del', name)); // takes its interfaces along
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  };
  await addHost(HUB);
  await ip('-n', HUB, 'link', 'add', 'bridge', 'type', 'bridge');
  await ip('-n', HUB, 'link', 'set', 'bridge', 'up');
  await ip('link', 'add', `${PREFIX}-r`, 'type', 'veth', 'peer', 'name', 'root', 'netns', HUB);
  opening.defer(() => ip('link', 'del', `${PREFIX}-r`));
  await plug('root');
  await ip('addr', 'add', `${OWN_ADDRESS}/24`, 'dev', `${PREFIX}-r`);
  await ip('link', 'set', `${PREFIX}-r`, 'up');
  const names = Array.from({ length: count }, (_, index) => `${PREFIX}-${index}`);
  for (const [index, name] of names.entries()) {
    await addHost(name);
    await ip(...`-n ${name} link add eth0 type veth peer name to${index} netns ${HUB}`.split(' '));
    await plug(`to${index}`);
    await ip('-n', name, 'addr', 'add', `${addressOf(index)}/24`, 'dev', 'eth0');
    await ip('-n', name, 'link', 'set', 'eth0', 'up');
  }
  const open = opening.move();
  return {
    hosts: names.map((name, index) => ({
      address: addressOf(index),
      runThrough: ['ip', 'netns', 'exec', name],
    })),
    async cut(side) {
      for (const [index, name] of names.entries())
        for (const other of names.keys())
          if (side.has(index) !== side.has(other))
            await iptables(name, '-A', 'INPUT', '-s', addressOf(other), '-j', 'DROP');
    },
    async heal() {
      for (const name of names) await iptables(name, '-F', 'INPUT');
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

const addressOf = (index: number): string => `${SUBNET}.${index + 1}`;

async function plug(port: string): Promise<void> {
  await ip('-n', HUB, 'link', 'set', port, 'master', 'bridge');
  await ip('-n', HUB, 'link', 'set', port, 'up');
}

async function iptables(name: string, ...args: string[]): Promise<void> {
  await ip('netns', 'exec', name, 'iptables', '-w', ...args);
}

async function ip(...args: string[]): Promise<void> {
  await run('ip', args, { timeout: COMMAND_TIMEOUT_MS });
}

function reasonOf(error: unknown): string {
  const { stderr, message } = error as Error & { stderr?: string };
  return (stderr?.trim() ?? '') || message;
}
