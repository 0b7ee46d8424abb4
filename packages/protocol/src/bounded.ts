/**
 * Bounds of what comes from outside: a peer, a client, a disk, a queue. They are in the schemas, so
 * that nothing is used before it was checked, and every reader has the same ones. Times in a
 * record are checked against the reader's clock as well: `daysAhead`.
 *
 * Texts that are shown have no control characters. They may still change the reading direction or be
 * dressed up: who prints them escapes that (the command line does it in one place).
 */
import * as z from 'zod';

const DAY_MS = 24 * 3_600_000;

/**
 * No date is later: the last millisecond of the year 9999, which every format can still write.
 * Past it: the record is refused; in a request 400.
 */
export const DATE_MAX_MS = 253_402_300_799_999;
/**
 * A date or a logical clock may be this much ahead of the reader's wall clock. Clocks of machines that
 * nobody looks after are wrong by hours or a day; what is further ahead would win over everything else
 * for as long.
 * Past it: the pin is refused, and taken when its day has come. A peer whose own clock is further than that
 * from the median of its members' answers writes with 503 `clock-wrong`.
 */
export const CLOCK_AHEAD_MAX_MS = 7 * DAY_MS;
/** Longest host name in DNS. Past it: the member's record is refused. */
const HOST_LENGTH_MAX = 253;
/** Scheme, host, port and brackets. Past it: the member's record is refused. */
const ORIGIN_LENGTH_MAX = HOST_LENGTH_MAX + 16;
/** Highest port of TCP. Past it: the member's record is refused. */
export const PORT_MAX = 65_535;

/** Milliseconds of the wall clock. */
export const TimeMs = z.int().min(0).max(DATE_MAX_MS);

/** Yes or no in a query. */
export const YesNo = z.stringbool().meta({
  pattern:
    '^(?:[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|1|0|[Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff]|[Yy]|[Nn]|[Ee][Nn][Aa][Bb][Ll][Ee][Dd]|[Dd][Ii][Ss][Aa][Bb][Ll][Ee][Dd])$',
});

/** A flag in a query: `?name` says yes, as `?name=true` does. */
export const Flag = z
  .stringbool({ truthy: ['', 'true', '1', 'yes', 'on'] })
  .meta({ enum: ['', 'true', '1', 'yes', 'on', 'false', '0', 'no', 'off', 'n', 'disabled'] })
  .default(false);

/** RFC 3339 with an offset or Z, and not past the last date. */
export const DateText = z.iso
  .datetime({ offset: true })
  .max(64)
  .refine((text) => Math.abs(Date.parse(text)) <= DATE_MAX_MS, 'is not a date up to the year 9999');

/** How many days this is ahead of the reader's clock, when that is too far; undefined otherwise. */
export function daysAhead(atMs: number, nowMs: number): number | undefined {
  return atMs - nowMs > CLOCK_AHEAD_MAX_MS ? Math.floor((atMs - nowMs) / DAY_MS) : undefined;
}

/** A label that a peer gives to something of its own. */
export const label = (lengthMax: number) =>
  z
    .string()
    .max(lengthMax)
    .refine(
      (text) => !hasControls(text) && text.isWellFormed(),
      'has characters that do not print',
    );

/** Whether a text has control characters (C0, DEL, C1): a terminal obeys them, a header breaks. */
export function hasControls(text: string): boolean {
  // eslint-disable-next-line no-control-regex
  return /[\u0000-\u001f\u007f-\u009f]/.test(text);
}

/** A host name or an address as in an origin: ASCII, IPv6 in brackets. */
export const HOST = /^(?:\[[0-9a-fA-F:.]{2,45}\]|[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_.])?)$/;

/** Where a service answers HTTP: scheme, host and port of ASCII, and nothing else, as it goes into headers. */
export const Origin = z
  .string()
  .max(ORIGIN_LENGTH_MAX)
  .refine(isOrigin, 'is not the origin of an HTTP service (http://host:port)');

/** A multiaddr; only such as can be dialled over TCP are used, others pass for those who know them. */
export const Multiaddr = z
  .string()
  .max(256)
  .regex(/^(?:\/[\x21-\x2e\x30-\x7e]+)+$/, 'is not a multiaddr');

/** Packed bits in base64url, as `encodeBits` writes that number of them: neither more nor fewer, the rest zero. */
export function arePackedBits(text: string, count: number): boolean {
  const length = Math.ceil((Math.ceil(count / 8) * 8) / 6);
  if (text.length !== length || !/^[\w-]*$/.test(text)) return false;
  const firstUnused = Math.floor(count / 6);
  return Array.from(text.slice(firstUnused)).every((digit, index) => {
    const usedBits = index === 0 ? count % 6 : 0;
    return (BASE64URL.indexOf(digit) & (0x3f >> usedBits)) === 0;
  });
}

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

function isOrigin(text: string): boolean {
  const match = /^https?:\/\/(\[[^\]]*\]|[^:/[\]]+)(?::(\d{1,5}))?$/.exec(text);
  if (match?.[1] === undefined || !HOST.test(match[1])) return false;
  const port = match[2] === undefined ? 1 : Number(match[2]);
  return port >= 1 && port <= PORT_MAX && URL.canParse(text);
}

/** Why something was refused, in words for a log: the first field that is wrong, and what is wrong with it. */
export function refusalOf(error: z.ZodError): string {
  const [issue] = error.issues;
  return `${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'is not valid'}`;
}
