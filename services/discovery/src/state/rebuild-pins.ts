/** Brings the tables of pins from an earlier version, or with another setting, into today's form. */
import { Pin, refusalOf } from '@shoal/protocol';
import type { Database, RootDatabase } from 'lmdb';
import { peek } from '../network/signed.ts';
import type { PinTables, StoredPin } from './pin-tables.ts';

/** The version of the tables; older ones are rebuilt. */
const FORM = 5;
/** Pins that could not be kept are kept aside under this and their root, as they were signed. */
const REFUSED_KEY = 'refused-pin/';

export interface RebuildDeps {
  readonly env: RootDatabase;
  readonly meta: Database<unknown, string>;
  /** How long a deleted file can be brought back: decides when files are purged. */
  readonly undeleteMs: number;
  /** A pin from before its fields had bounds is out of them: it is left out, and kept aside. */
  readonly onRefused: (root: string, reason: string) => void;
}

/** Rebuilds the tables where they need it, in one transaction. */
export function rebuildPins(tables: PinTables, deps: RebuildDeps, nowMs: number): void {
  const { env, meta, undeleteMs, onRefused } = deps;
  const isOldForm = meta.get('pins-form') !== FORM;
  if (!isOldForm && meta.get('undelete-ms') === undeleteMs) return;
  env.transactionSync(() => {
    tables.clearOrders();
    const all = [...tables.pins.getRange({})]; // no cursor stays open over what is written
    for (const { key, value } of all) {
      const { data: pin, error } = Pin.safeParse(value.pin);
      if (pin === undefined) {
        onRefused(key, refusalOf(error));
        void meta.put(REFUSED_KEY + key, value);
        void tables.pins.remove(key);
        continue;
      }
      const { signed } = value;
      tables.put(isOldForm ? reread({ pin, signed }, nowMs) : { ...value, pin }, nowMs);
    }
    void meta.put('pins-form', FORM);
    void meta.put('undelete-ms', undeleteMs);
  });
}

/** An earlier version that met tombstones of a later one left out what it did not know. */
function reread(stored: StoredPin, nowMs: number): StoredPin {
  const said = stored.pin.deleted ? peek('pin', stored.signed) : undefined;
  if (said?.root !== stored.pin.root || said.deletedAtMs === undefined) return stored;
  return { ...stored, pin: said, deletedSeenMs: Math.min(said.deletedAtMs, nowMs) };
}
