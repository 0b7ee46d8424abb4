/**
 * The page of a directory. It is read by people, by `rclone http` (which follows links below its own
 * address, and takes those that end in `/` for directories), and by the conformance suite of IPFS
 * gateways (which looks for the links as Kubo's page writes them). No script; names are text.
 */
import { fileNameFault, visibleName } from '@shoal/protocol';

/** Grows with every change of the page: it is part of its ETag. */
export const PAGE_VERSION = 3;

/** Nothing is loaded, run or sent from a listing. */
export const PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export interface PagePath {
  /** The path of a proxy before ours; empty if there is none. */
  readonly prefix: string;
  /** The CID in the address. */
  readonly root: string;
  readonly segments: readonly string[];
}

export interface PageEntry {
  readonly name: string;
  readonly cid: string;
  /** Encoded size of all below it, as the directory states it. */
  readonly treeSizeBytes: number | undefined;
  readonly isDirectory: boolean;
}

const STYLE = `
:root{color-scheme:light dark}
body{margin:2rem auto;max-width:60rem;padding:0 1rem;font:16px/1.6 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.1rem;font-weight:600}
table{border-collapse:collapse;width:100%}
tr:nth-child(even){background:rgb(127 127 127 / .08)}
td{padding:.25rem .5rem;vertical-align:top}
td:nth-child(2){font:13px/1.9 ui-monospace,monospace;white-space:nowrap}
td:last-child{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
a{text-decoration:none}a:hover{text-decoration:underline}
.ipfs-hash{opacity:.6}`;

/** From the beginning to the first row. */
export function pageHead(path: PagePath): string {
  const { root, segments } = path;
  const title = escapeHtml(['/ipfs', root, ...segments].join('/'));
  const above = addressOf(path, segments.length);
  return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Index of ${title}</title><style>${STYLE}
</style></head><body>
<h1>Index of ${crumbsOf(path)}</h1>
<table>
${segments.length === 0 ? '' : `<tr><td><a href="${above}/..">..</a></td><td></td><td></td></tr>\n`}`;
}

/** One row. */
export function pageRow(
  path: PagePath,
  { name, cid, treeSizeBytes, isDirectory }: PageEntry,
): string {
  const escaped = encodeURIComponent(name);
  const address = `${addressOf(path, path.segments.length)}/${escaped}${isDirectory ? '/' : ''}`;
  const text = escapeHtml(name);
  // No address leads to these two names: every client takes them for steps on the way.
  const isStep = name === '.' || name === '..' || name === '';
  const named = isStep ? text : `<a href="${address}">${text}</a>`;
  const own = `${path.prefix}/ipfs/${cid}${filenameQuery(name)}`;
  const short = `${cid.slice(0, 4)}…${cid.slice(-6)}`;
  const hash = `<a class="ipfs-hash" translate="no" href="${own}">${short}</a>`;
  return `<tr><td>${named}</td><td>${hash}</td><td>${sizeText(treeSizeBytes)}</td></tr>\n`;
}

/**
 * The name to save it under. It is escaped twice, as on Kubo's page: the suite compares the link. Where that would be
 * longer than a name may be, it is escaped once, and left out when a file may not be called so.
 */
function filenameQuery(name: string): string {
  const escaped = encodeURIComponent(name);
  if (fileNameFault(escaped) === undefined) return `?filename=${encodeURIComponent(escaped)}`;
  return fileNameFault(name) === undefined ? `?filename=${escaped}` : '';
}

/** From the last row to the end. */
export const PAGE_END = '</table>\n</body></html>\n';

/** Each step of the path, linked. */
function crumbsOf(path: PagePath): string {
  const steps = [path.root, ...path.segments].map(
    (step, depth) => `<a href="${addressOf(path, depth)}">${escapeHtml(step)}</a>`,
  );
  return `/ipfs/${steps.join('/')}`;
}

/** The address of the first `depth` segments. */
function addressOf({ prefix, root, segments }: PagePath, depth: number): string {
  const steps = [root, ...segments.slice(0, depth)];
  return `${prefix}/ipfs/${steps.map((step) => encodeURIComponent(step)).join('/')}`;
}

/** As people read it, in powers of 1024. */
function sizeText(sizeBytes: number | undefined): string {
  if (sizeBytes === undefined) return '';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let size = sizeBytes;
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit += 1) size /= 1024;
  return `${unit === 0 ? size : size.toPrecision(3)} ${units[unit]}`;
}

function escapeHtml(text: string): string {
  const escapes: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return visibleName(text).replace(/[&<>"']/g, (character) => escapes[character] ?? character);
}
