/**
 * The roster on disk: `roster.json` in the peer's data folder, which one process writes and the peer's services read
 * when it changes. A removed peer must be refused by all of them at once, so none keeps a copy of its own.
 */
import { readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../process/config.ts';
import type { Log } from '../process/log.ts';
import { replaceFile } from '../process/durable-files.ts';
import { hasComparedMark, MARK_FILE } from './compared-mark.ts';
import { Roster } from './roster.ts';

export const ROSTER_FILE = 'roster.json';
/** Several changes at once are read as one. Past it: a later change is read by itself. */
const SETTLE_MS = 20;

/**
 * The roster in a data folder; an empty one when there is none, as in a swarm without owner.
 * @throws ConfigError when the file is not a roster.
 */
export function readRosterFile(peerDataDir: string): Roster {
  const roster = new Roster();
  readInto(roster, join(peerDataDir, ROSTER_FILE));
  return roster;
}

/** The same, kept up to date until disposed: also whether discovery has compared it. */
export function watchRosterFile(
  peerDataDir: string,
  log: Pick<Log, 'warn'>,
): Disposable & { readonly roster: Roster } {
  const roster = new Roster();
  const file = join(peerDataDir, ROSTER_FILE);
  const read = (): void => {
    roster.setCompared(hasComparedMark(peerDataDir));
    readInto(roster, file);
  };
  let timer: NodeJS.Timeout | undefined;
  const readAgain = (): void => {
    timer = undefined;
    try {
      read();
    } catch (err) {
      log.warn({ err }, 'the roster was not read; what was known of it before holds');
    }
  };
  const watcher = watch(peerDataDir, { persistent: false }, (_, name) => {
    if (name === ROSTER_FILE || name === MARK_FILE)
      timer ??= setTimeout(readAgain, SETTLE_MS).unref();
  });
  watcher.on('error', (err) => log.warn({ err }, 'the roster is no longer watched'));
  const close = (): void => {
    watcher.close();
    clearTimeout(timer);
  };
  try {
    read(); // after the watch has begun, so that no change is missed
  } catch (error) {
    close();
    throw error;
  }
  return { roster, [Symbol.dispose]: close };
}

/** Writes the records that count; they are on disk when it returns. */
export const saveRoster = (peerDataDir: string, roster: Roster): void =>
  replaceFile(
    join(peerDataDir, ROSTER_FILE),
    `${JSON.stringify({ v: 1, records: roster.records() })}\n`,
    0o600,
  );

function readInto(roster: Roster, file: string): void {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw new ConfigError(`${file} can't be read: ${String((cause as Error).message)}`, { cause });
  }
  let records: unknown;
  try {
    ({ records } = JSON.parse(text) as { readonly records?: unknown });
  } catch (cause) {
    throw new ConfigError(`${file} is not a roster; restore it from another peer's folder`, {
      cause,
    });
  }
  if (!Array.isArray(records)) throw new ConfigError(`${file} is not a roster: it has no records`);
  roster.take(records, { mayBegin: true });
}
