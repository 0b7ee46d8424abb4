/**
 * In which form something below `/ipfs/` is asked for: `?format=`, else `Accept` (IPIP-523), else as
 * the file or directory that it is.
 */
import { FormatUnsupported, RequestInvalid } from '@shoal/protocol';

export const RAW_TYPE = 'application/vnd.ipld.raw';
export const CAR_TYPE = 'application/vnd.ipld.car';
export const TAR_TYPE = 'application/x-tar';

/** Names of formats in `?format=`, and their media types in `Accept`. */
const TYPES: Readonly<Record<string, string>> = {
  [RAW_TYPE]: 'raw',
  [CAR_TYPE]: 'car',
  [TAR_TYPE]: 'tar',
  'application/vnd.ipld.dag-json': 'dag-json',
  'application/vnd.ipld.dag-cbor': 'dag-cbor',
  'application/vnd.ipfs.ipns-record': 'ipns-record',
};
/** Forms that gateways know and this one does not have. */
const FOREIGN = ['dag-json', 'dag-cbor', 'json', 'cbor'];
/** Media ranges looked at in one `Accept`. */
const RANGES_MAX = 32;

/** Whether blocks that occur twice in a DAG come twice in its CAR. */
export type Dups = 'y' | 'n';

export type Form =
  | { readonly kind: 'file' }
  /** `isByAccept`: no parameter asked for it, so the answer names its own address. */
  | { readonly kind: 'raw'; readonly isByAccept: boolean }
  | { readonly kind: 'car'; readonly isByAccept: boolean; readonly dups: Dups }
  | { readonly kind: 'tar'; readonly isByAccept: boolean };

interface FormQuery {
  readonly format?: string | undefined;
  readonly 'car-version'?: string | undefined;
  readonly 'car-order'?: string | undefined;
  readonly 'car-dups'?: string | undefined;
}

/** One media range of an `Accept`. */
interface MediaRange {
  readonly type: string;
  readonly weight: number;
  readonly parameters: ReadonlyMap<string, string>;
}

/** @throws RequestInvalid for a format that nobody knows, or a CAR that we don't write; FormatUnsupported */
export function negotiate(query: FormQuery, accept: string | undefined): Form {
  const ranges = parseAccept(accept ?? '');
  const byAccept = query.format === undefined;
  const format = query.format ?? formatOf(ranges);
  if (format === undefined) return { kind: 'file' };
  if (format === 'raw' || format === 'tar') return { kind: format, isByAccept: byAccept };
  if (format === 'car') return { kind: 'car', isByAccept: byAccept, dups: dupsOf(query, ranges) };
  if (format === 'ipns-record')
    throw new RequestInvalid({ reason: 'this gateway keeps no IPNS records, only what has a CID' });
  if (FOREIGN.includes(format)) throw new FormatUnsupported({ format });
  throw new RequestInvalid({
    reason: `there is no format "${format.slice(0, 50)}"; "raw", "car" and "tar" are served`,
  });
}

/** Whether the client that sent this `Accept` reads JSON, and so a problem's body. */
export function readsJson(accept: string | undefined): boolean {
  return parseAccept(accept ?? '').some(
    ({ type, weight }) => weight > 0 && /^application\/(?:.+\+)?json$/.test(type),
  );
}

/** The best of what is accepted; of equals the first. Undefined for a file or directory as it is. */
function formatOf(ranges: readonly MediaRange[]): string | undefined {
  const best = ranges
    .filter(({ weight }) => weight > 0)
    .toSorted((a, b) => b.weight - a.weight || Number(isForeign(a)) - Number(isForeign(b)))[0];
  return best === undefined ? undefined : TYPES[best.type];
}

/** A format that we don't have loses against any that we have. */
const isForeign = ({ type }: MediaRange): boolean =>
  !['raw', 'car', 'tar', undefined].includes(TYPES[type]);

/** Parameters of the address beat those of `Accept` (IPIP-524's order for CARs). */
function dupsOf(query: FormQuery, ranges: readonly MediaRange[]): Dups {
  const asked = ranges.find(({ type }) => type === CAR_TYPE)?.parameters;
  const version = query['car-version'] ?? asked?.get('version') ?? '1';
  const order = query['car-order'] ?? asked?.get('order') ?? 'dfs';
  const dups = query['car-dups'] ?? asked?.get('dups') ?? 'n';
  if (version !== '1')
    throw new RequestInvalid({
      reason: `CARs are written in version 1, not "${version.slice(0, 20)}"`,
    });
  if (order !== 'dfs' && order !== 'unk')
    throw new RequestInvalid({ reason: 'the order of a CAR is "dfs", or "unk" for any' });
  if (dups !== 'y' && dups !== 'n')
    throw new RequestInvalid({ reason: 'duplicates in a CAR are "y" or "n"' });
  return dups;
}

function parseAccept(accept: string): MediaRange[] {
  return accept
    .split(',')
    .slice(0, RANGES_MAX)
    .flatMap((text) => {
      const [type = '', ...rest] = text.split(';').map((part) => part.trim().toLowerCase());
      if (type === '') return [];
      const parameters = new Map(
        rest.map((part): [string, string] => {
          const [name = '', value = ''] = part.split('=', 2);
          return [name.trim(), value.trim().replace(/^"(.*)"$/, '$1')];
        }),
      );
      const weight = Number(parameters.get('q') ?? 1);
      return [{ type, weight: Number.isFinite(weight) ? weight : 0, parameters }];
    });
}
