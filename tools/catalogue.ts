/**
 * The data of the reference pages: every problem, setting and metric. Values are read from the
 * schemas and registries themselves, words from the doc comments beside them, so that nothing is
 * said twice.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PeerConfig } from '../packages/chassis/src/process/config.ts';
import { createAuditCounter } from '../packages/chassis/src/audit/audit.ts';
import { createRegistry, createRequestHistogram } from '../packages/chassis/src/process/metrics.ts';
import { PROBLEMS } from '../packages/protocol/src/index.ts';
import { ChunkerConfig } from '../services/chunker/src/config.ts';
import { createMetrics as createChunkerMetrics } from '../services/chunker/src/metrics.ts';
import { DiscoveryConfig } from '../services/discovery/src/config.ts';
import { createMetrics as createDiscoveryMetrics } from '../services/discovery/src/metrics.ts';
import { GatewayConfig } from '../services/gateway/src/config.ts';
import { createMetrics as createGatewayMetrics } from '../services/gateway/src/metrics.ts';
import type { Blockstore } from '../services/storage/src/store/blockstore.ts';
import { StorageConfig } from '../services/storage/src/config.ts';
import { createMetrics as createStorageMetrics } from '../services/storage/src/metrics.ts';
import { watchStore } from '../services/storage/src/upkeep/store-gauges.ts';
import { TransferConfig } from '../services/transfer/src/config.ts';
import {
  createMetrics as createTransferMetrics,
  watchQueues,
} from '../services/transfer/src/metrics.ts';

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** The settings that `shoal peer` and `shoal swarm` work out from their own options (cli/launch-peer.ts). */
const SET_BY_LAUNCHER =
  /^(?:PEER_ID|PEER_DATA_DIR|SWARM_KEY_FILE|REDIS_SOCKET|BIND_HOST|LAUNCHER_PID|DISCOVERY_(?:SEEDS|MDNS|ADVERTISE_HOST))$|_(?:URL|PORT)$/;

/** The declarations of one source file. */
export interface Group<T> {
  readonly title: string;
  /** Path from the root. */
  readonly source: string;
  readonly items: readonly T[];
}

export interface ProblemEntry {
  /** Name of the class; empty when its declaration was not found. */
  readonly name: string;
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly fields: readonly { readonly name: string; readonly type: string }[];
  /** The sentence for people, with the fields' names in braces. */
  readonly detail: string;
  readonly when: string;
}

export interface Setting {
  readonly name: string;
  /** As one writes it in the environment; undefined when it has none. */
  readonly fallback: string | undefined;
  readonly rule: Rule;
  readonly comment: string;
  readonly isRequired: boolean;
  readonly isSetByLauncher: boolean;
}

export interface Metric {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
}

/** The part of JSON Schema that settings use. */
export interface Rule {
  readonly type?: string;
  readonly default?: string | number | boolean;
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly format?: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
}

/** The part of a zod schema that this file uses. */
interface Schema {
  toJSONSchema(options: { io: 'input' | 'output'; unrepresentable: 'any' }): object;
  safeParse(value: undefined): { success: boolean };
}

type Registry = ReturnType<typeof createRegistry>;

export const PROBLEM_ENTRIES: Group<ProblemEntry> = problemsOf(
  'packages/protocol/src/problems/index.ts',
  ['requests', 'uploads', 'swarm'].map((part) => `packages/protocol/src/problems/${part}.ts`),
);

/** Items that all services share are in the first group alone. */
export const SETTINGS: readonly Group<Setting>[] = [
  settingsOf('every service', 'packages/chassis/src/process/config.ts', PeerConfig.shape),
  settingsOf('gateway', 'services/gateway/src/config.ts', GatewayConfig.shape),
  settingsOf('chunker', 'services/chunker/src/config.ts', ChunkerConfig.shape),
  settingsOf('storage', 'services/storage/src/config.ts', StorageConfig.shape),
  settingsOf('transfer', 'services/transfer/src/config.ts', TransferConfig.shape),
  settingsOf('discovery', 'services/discovery/src/config.ts', DiscoveryConfig.shape),
];

/** Our own metrics; those of Node, which every service has as well, are left out. */
export const METRICS: readonly Group<Metric>[] = [
  metricsOf('every service', 'packages/chassis/src/process/metrics.ts', (registry) => {
    createRequestHistogram(registry);
    createAuditCounter(registry);
  }),
  metricsOf('gateway', 'services/gateway/src/metrics.ts', createGatewayMetrics),
  metricsOf('chunker', 'services/chunker/src/metrics.ts', createChunkerMetrics),
  metricsOf('storage', 'services/storage/src/metrics.ts', (registry) => {
    createStorageMetrics(registry);
    // The gauges are declared and never read here, so the store is asked for nothing.
    watchStore(registry, {} as Blockstore);
  }),
  metricsOf('transfer', 'services/transfer/src/metrics.ts', (registry) => {
    createTransferMetrics(registry);
    watchQueues(registry, []);
  }),
  metricsOf('discovery', 'services/discovery/src/metrics.ts', () => createDiscoveryMetrics()),
];

/** @param parts The files that have the problems of the catalogue. */
function problemsOf(source: string, parts: readonly string[]): Group<ProblemEntry> {
  const text = parts.map(read).join('\n');
  const items = PROBLEMS.map((kind) => {
    const { type, title, status } = kind;
    const { properties = {}, required = [] } = kind.fields.toJSONSchema({ io: 'input' });
    const fields = Object.entries(properties).map(([name, schema]) => {
      const { type: fieldType } = schema as Rule;
      return { name, type: `${fieldType}${required.includes(name) ? '' : ', optional'}` };
    });
    // A detail only prints its fields, so a name in braces does where a number belongs; lists are left out.
    const plain = fields.filter(({ type }) => !type.startsWith('array'));
    const names = Object.fromEntries(plain.map(({ name }) => [name, `{${name}}`]));
    const { message } = new (kind as new (fields: object) => Error)(names);
    const detail = message.replaceAll('NaN', '…'); // a number that is worked out of a field
    const before = text.slice(0, text.indexOf(`type: '${type}'`));
    const name = /(\w+) = defineProblem\(\{\s*$/.exec(before)?.[1] ?? '';
    const when = commentAbove(text, `export const ${name} =`);
    return { name, type, title, status, fields, detail, when };
  });
  return { title: 'problems', source, items };
}

function settingsOf(
  title: string,
  source: string,
  shape: Readonly<Record<string, Schema>>,
): Group<Setting> {
  const text = read(source);
  const own = Object.entries(shape).filter(
    ([name]) => shape === PeerConfig.shape || !(name in PeerConfig.shape),
  );
  const items = own.map(([name, schema]) => {
    // A transformed schema shows its default on the way in, a boolean on the way out.
    const rules = (['input', 'output'] as const).map((io) =>
      schema.toJSONSchema({ io, unrepresentable: 'any' }),
    );
    const rule: Rule = Object.assign({}, ...rules);
    return {
      name,
      fallback: rule.default === undefined ? undefined : String(rule.default),
      rule,
      comment: commentAbove(text, `  ${name}:`) || (rule.description ?? ''),
      isRequired: !schema.safeParse(undefined).success,
      isSetByLauncher: SET_BY_LAUNCHER.test(name),
    };
  });
  return { title, source, items };
}

function metricsOf(
  title: string,
  source: string,
  declare: (registry: Registry) => unknown,
): Group<Metric> {
  const given = createRegistry(title);
  const made = declare(given);
  // Discovery makes its registry itself, and hands it out.
  const registry = (made as { registry?: Registry } | undefined)?.registry ?? given;
  const own = registry.getMetricsAsArray().filter(({ name }) => name.startsWith('shoal_'));
  const items = own.map((metric) => {
    // prom-client has the labels' names on the object and not in its types.
    const { labelNames } = metric as unknown as { labelNames: readonly string[] };
    return { name: metric.name, type: String(metric.type), labels: labelNames, help: metric.help };
  });
  return { title, source, items };
}

/** The doc comment right above the line that begins like this, as one line; empty if there is none. */
export function commentAbove(source: string, begin: string): string {
  const before = source.slice(0, Math.max(0, source.indexOf(`\n${begin}`)));
  const comment = /\/\*\*((?:(?!\*\/)[^])*)\*\/\s*$/.exec(before)?.[1] ?? '';
  return comment.replace(/\s*\n\s*\*/g, '').trim();
}

/** A source, by its path from the root. */
export function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}
