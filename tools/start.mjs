/** `npm start`: set-up, then a swarm of five peers on this machine, until Ctrl-C. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { argv, env, exit } from 'node:process';
import { withoutYes } from './consent.mjs';
import { buildPrograms, findNode, projectEnv, ROOT, setUp } from './setup.mjs';

const PARENT_CHECK_MS = 1000;

setUp();
buildPrograms();
const main = join(ROOT, 'packages', 'cli', 'dist', 'main.cjs');
const swarm = [
  'swarm',
  '--peers',
  '5',
  '--data-dir',
  join(ROOT, '.shoal'),
  ...withoutYes(argv.slice(2)),
];
const launcher = spawn(findNode(), [main, ...swarm], { stdio: 'inherit', env: projectEnv() });
// The terminal sends Ctrl-C to both; other signals reach only this process, and are passed on.
process.on('SIGINT', () => {});
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => launcher.kill(signal));
// npm that is killed takes its shell along and tells nobody else.
const parentId = process.ppid;
if (env.npm_lifecycle_event !== undefined)
  setInterval(() => process.ppid === parentId || launcher.kill('SIGTERM'), PARENT_CHECK_MS).unref();
launcher.once('exit', (code) => exit(code ?? 1));
