/**
 * The roster on disk: `roster.json` in the peer's data folder, which one process writes and the peer's services read
 * when it changes. A removed peer must be refused by all of them at once, so none keeps a copy of its own.
 */
import { readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../process/config.ts';
import type { Log } from '../process/log.ts';
import { replaceFile } from '../process/durable-files.ts';
import { Roster } from './roster.ts';

const FILE = 'roster.json';
/** Several changes at once are read as one. Past it: a later change is read by itself. */
const SETTLE_MS = 20;

/**
 * The roster in a data folder; an empty one when there is none, as in a swarm without owner.
 * @throws ConfigError when the file is not a roster.
 */
export function readRosterFile(peerDataDir: string): Roster {
  const roster = new Roster();
  readInto(roster, join(peerDataDir, FILE));
  return roster;
}

/** The same, kept up to date until disposed. */
export function watchRosterFile(
  peerDataDir: string,
  log: Pick<Log, 'warn'>,
): Disposable & { readonly roster: Roster } {
  const roster = readRosterFile(peerDataDir);
  let timer: NodeJS.Timeout | undefined;
  const read = (): void => {
    timer = undefined;
    try {
      readInto(roster, join(peerDataDir, FILE));
    } catch (err) {
      log.warn({ err }, 'the roster was not read; what was known of it before holds');
    }
  };
  const watcher = watch(peerDataDir, { persistent: false }, (_, name) => {
    if (name === FILE) timer ??= setTimeout(read, SETTLE_MS).unref();
  });
  watcher.on('error', (err) => log.warn({ err }, 'the roster is no longer watched'));
  read(); // it may have changed before the watch began
  return {
    roster,
    [Symbol.dispose]() {
      watcher.close();
      clearTimeout(timer);
    },
  };
}

/** Writes the records that count; they are on disk when it returns. */
export const saveRoster = (peerDataDir: string, roster: Roster): void =>
  replaceFile(
    join(peerDataDir, FILE),
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
