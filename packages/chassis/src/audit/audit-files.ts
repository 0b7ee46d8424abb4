/**
 * The events of one service on disk: JSON lines in `<data dir>/audit/<service>.jsonl`, which is put aside when it is full, as
 * `<service>.1.jsonl` and so on, of which the oldest goes. Lines are not synced: a power cut may take the last seconds.
 *
 * A disk that takes nothing (full, read-only) is nobody's concern but this file's: lines wait in memory, so that they can
 * still be read, and are written when it takes them again. A line that was cut in the middle is written again whole.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { AuditEvent, type Service } from '@shoal/protocol';
import type { Log } from '../process/log.ts';

/** One file, some ten thousand events. Past it: it is put aside, and another one begun. */
const FILE_MAX_BYTES = 2 * 1024 * 1024;
/** Files put aside, of each service. Past it: the oldest goes. */
const FILES_ASIDE_MAX = 4;
/** Lines that the disk did not take. Past it: the oldest is lost. */
const WAITING_MAX = 256;

export class AuditFiles {
  readonly #folder: string;
  readonly #service: Service;
  readonly #log: Pick<Log, 'warn'>;
  readonly #fileMaxBytes: number;
  #fd: number | undefined;
  #sizeBytes = 0;
  /** The last write was cut: the next one begins a line. */
  #isTorn = false;
  #isTold = false;
  readonly #waiting: AuditEvent[] = [];

  constructor(
    peerDataDir: string,
    service: Service,
    {
      log,
      fileMaxBytes = FILE_MAX_BYTES,
    }: { readonly log: Pick<Log, 'warn'>; readonly fileMaxBytes?: number },
  ) {
    this.#folder = join(peerDataDir, 'audit');
    this.#service = service;
    this.#log = log;
    this.#fileMaxBytes = fileMaxBytes;
    this.#try(() => this.#open());
  }

  append(event: AuditEvent): void {
    this.#waiting.push(event);
    if (this.#waiting.length > WAITING_MAX) this.#waiting.shift();
    this.#try(() => {
      this.#open();
      for (let event; (event = this.#waiting[0]) !== undefined;) {
        this.#write(event);
        this.#waiting.shift();
      }
    });
  }

  /** All that there are, the newest first. */
  *newestFirst(): Generator<AuditEvent, void, undefined> {
    yield* this.#waiting.toReversed();
    for (let aside = 0; aside <= FILES_ASIDE_MAX; aside += 1)
      for (const line of this.#lines(aside).toReversed()) {
        const event = readLine(line);
        if (event !== undefined) yield event;
      }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #name(aside: number): string {
    return join(this.#folder, `${this.#service}${aside === 0 ? '' : `.${aside}`}.jsonl`);
  }

  #lines(aside: number): string[] {
    try {
      return readFileSync(this.#name(aside), 'utf8').split('\n');
    } catch {
      return []; // there is none, or it can't be read
    }
  }

  #open(): void {
    if (this.#fd !== undefined) return;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const text = this.#lines(0).join('\n');
    this.#sizeBytes = Buffer.byteLength(text);
    this.#isTorn = text !== '' && !text.endsWith('\n');
    this.#fd = openSync(this.#name(0), 'a', 0o600);
  }

  #write(event: AuditEvent): void {
    if (this.#sizeBytes >= this.#fileMaxBytes) this.#putAside();
    if (this.#fd === undefined) return;
    const line = Buffer.from(`${this.#isTorn ? '\n' : ''}${JSON.stringify(event)}\n`);
    const written = writeSync(this.#fd, line);
    this.#sizeBytes += written;
    this.#isTorn = written > 0 && written < line.length;
    if (written < line.length) throw new Error('the disk took a part of a line');
  }

  /** Nothing is written while this fails: the bound holds. */
  #putAside(): void {
    this.close();
    for (let aside = FILES_ASIDE_MAX - 1; aside >= 0; aside -= 1)
      if (existsSync(this.#name(aside))) renameSync(this.#name(aside), this.#name(aside + 1));
    this.#open();
  }

  #try(act: () => void): void {
    try {
      act();
      this.#isTold = false;
    } catch (err) {
      if (!this.#isTold)
        this.#log.warn({ err }, "the audit can't be written; its events wait in memory");
      this.#isTold = true;
    }
  }
}

/** Undefined for a line that was cut, or that a person wrote. */
function readLine(line: string): AuditEvent | undefined {
  if (line === '') return undefined;
  try {
    return AuditEvent.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
