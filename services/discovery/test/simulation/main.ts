/**
 * A swarm of any size in one process and on virtual time: what it costs to be a member of it, and how long news takes.
 *
 *   node test/simulation/main.ts --members 300 [--seed S] [--brief | --liar] [--json FILE]
 */
import { type KeyObject, verify as verifyNow } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '@shoal/testkit';
import { simulateLies } from './lies.ts';
import { simulate } from './simulate.ts';
import { VirtualTime } from './virtual-time.ts';

const { values } = parseArgs({
  options: {
    members: { type: 'string', default: '30' },
    seed: { type: 'string', default: 'shoal' },
    brief: { type: 'boolean', default: false },
    liar: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
/** An exit in the middle of a write to LMDB waits without end for its thread: this is far longer than one takes. */
const WRITES_END_MS = 500;
const realTimer = setTimeout;
const time = new VirtualTime();
time.install();
const random = createRandom(values.seed);
Math.random = cheapRandom(random.int(0, 2 ** 32));
rememberVerdicts();
const folder = mkdtempSync(join(tmpdir(), 'shoal-simulation-'));
const startedAt = process.hrtime.bigint();
try {
  const swarm = { time, random, seed: values.seed, members: Number(values.members), folder };
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const report = values.liar
    ? await simulateLies(swarm)
    : await simulate({ ...swarm, isBrief: values.brief, say });
  const tookS = Number(process.hrtime.bigint() - startedAt) / 1e9;
  const text = JSON.stringify({ ...report, tookS }, null, 2);
  if (values.json !== undefined) writeFileSync(values.json, `${text}\n`);
  process.stdout.write(`${text}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
await new Promise<void>((resolve) => realTimer(resolve, WRITES_END_MS));
process.exit(0);

/** Whether a signature is good is always answered alike, and each member asks it of each record. */
function rememberVerdicts(): void {
  const crypto = createRequire(import.meta.url)('node:crypto') as Record<string, unknown>;
  const verify = verifyNow; // the binding changes with the export
  const verdicts = new Map<string, boolean>();
  crypto['verify'] = (none: null, data: Buffer, key: KeyObject, signature: Buffer): boolean => {
    const name = `${signature.toString('base64')} ${data.toString('base64')}`;
    const known = verdicts.get(name) ?? verify(none, data, key, signature);
    verdicts.set(name, known);
    return known;
  };
  syncBuiltinESMExports();
}

/** Mulberry32: choices are drawn all the time. */
function cheapRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
