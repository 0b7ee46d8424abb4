/**
 * Loaded into a peer's processes before anything else: their wall clock is off by as many
 * milliseconds as a file says, and follows when the file changes. Monotonic clocks stay right, as
 * they do when somebody sets a machine's clock.
 */
import { readFileSync } from 'node:fs';
import { env } from 'node:process';

/** How long what the file says is remembered. */
const REMEMBERED_MS = 20;

const TrueDate = Date;
const trueNow = Date.now.bind(Date);
const file = env['CHAOS_CLOCK_FILE'];
let shiftMs = 0;
let readAtMs = -Infinity;

function now(): number {
  if (file !== undefined && performance.now() - readAtMs > REMEMBERED_MS) {
    readAtMs = performance.now();
    shiftMs = Number(readFileSync(file, 'utf8'));
  }
  return Math.round(trueNow() + shiftMs);
}

globalThis.Date = new Proxy(TrueDate, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as Date,
  apply: () => new TrueDate(now()).toString(),
  get: (target, key, receiver) =>
    key === 'now' ? now : (Reflect.get(target, key, receiver) as unknown),
});
