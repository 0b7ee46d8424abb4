/**
 * A swarm of any size in one process and on virtual time: what it costs to be a member of it, and how long news takes.
 *
 *   node test/simulation/main.ts --members 300 [--seed S] [--json FILE]
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '@shoal/testkit';
import { simulate } from './simulate.ts';
import { VirtualTime } from './virtual-time.ts';

const { values } = parseArgs({
  options: {
    members: { type: 'string', default: '30' },
    seed: { type: 'string', default: 'shoal' },
    json: { type: 'string' },
  },
});
const time = new VirtualTime();
time.install();
const random = createRandom(values.seed);
Math.random = createRandom(`${values.seed}/choices`).share;
const folder = mkdtempSync(join(tmpdir(), 'shoal-simulation-'));
const startedAt = process.hrtime.bigint();
try {
  const report = await simulate({
    time,
    random,
    seed: values.seed,
    members: Number(values.members),
    folder,
    say: (line) => process.stderr.write(`${line}\n`),
  });
  const tookS = Number(process.hrtime.bigint() - startedAt) / 1e9;
  const text = JSON.stringify({ ...report, tookS }, null, 2);
  if (values.json !== undefined) writeFileSync(values.json, `${text}\n`);
  process.stdout.write(`${text}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
