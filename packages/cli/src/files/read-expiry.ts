/** When a file ends, as people write it. */
import { UsageError } from '../failure.ts';

const UNITS_MS: Readonly<Record<string, number>> = {
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const SPAN = /^(\d{1,5})(s|min|h|d|w)$/;
const DATE =
  /^(?<day>\d{4}-\d\d-\d\d)(?:[T ](?<time>\d\d:\d\d(?::\d\d)?)(?<zone>Z|[+-]\d\d:\d\d)?)?$/;

/**
 * A date (`2027-03-01`, `2027-03-01T12:00`, in local time unless a zone is given), a time from now
 * (`90min`, `7d`), or `never`, which is null; undefined when nothing is said.
 * @throws UsageError for anything else, and for what is over.
 */
export function readExpiry(text: string | undefined, nowMs: number): string | null | undefined {
  if (text === undefined) return undefined;
  if (text === 'never') return null;
  const atMs = spanMs(text) === undefined ? dateMs(text) : nowMs + (spanMs(text) ?? 0);
  if (atMs === undefined)
    throw new UsageError(
      `--expires takes a date (2027-03-01, 2027-03-01T12:00), a time from now (90min, 12h, 7d, 4w) or "never", not "${text}"`,
    );
  if (atMs <= nowMs) throw new UsageError(`--expires ${text} is over already`);
  return new Date(atMs).toISOString();
}

/** A time as people write it, in milliseconds; undefined for what is none. */
export function spanMs(text: string): number | undefined {
  const [, count, unit = ''] = SPAN.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * (UNITS_MS[unit] ?? 0);
}

/** A date as people write it, in local time unless a zone is given; undefined for what is none. */
export function dateMs(text: string): number | undefined {
  const { day, time = '00:00', zone = '' } = DATE.exec(text)?.groups ?? {};
  if (day === undefined) return undefined;
  // The 31st of a shorter month would be read as the month after.
  const isDay = Number.isFinite(Date.parse(day)) && new Date(day).toISOString().startsWith(day);
  const atMs = Date.parse(`${day}T${time}${zone}`);
  return isDay && Number.isFinite(atMs) ? atMs : undefined;
}
