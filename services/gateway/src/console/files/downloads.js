/**
 * Downloads where reads need a token: a link sends none, so the file is fetched by the page and then saved. Where the
 * peer gives it to everybody the link is followed, and the browser writes it to disk as it comes.
 */
import { send } from '../ask.js';
import { showFault } from '../build.js';
import { token } from '../token.js';

/** Longest wait for a file of any size. Past it: it is given up. */
const DOWNLOAD_TIMEOUT_MS = 24 * 3_600_000;
/** A browser has begun to save what an address named by then. */
const RELEASE_AFTER_MS = 60_000;

export function addDownloads(faultNode) {
  document.addEventListener('click', (event) => {
    const link = event.target.closest?.('a[href^="files/"]');
    if (link === null || link === undefined || token() === undefined) return;
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    void download(link.href).then(
      () => showFault(faultNode, undefined),
      (error) => showFault(faultNode, error),
    );
  });
}

async function download(url) {
  const { ok } = await fetch(url, { method: 'HEAD' });
  if (ok) {
    location.assign(url);
    return;
  }
  const answer = await send('GET', url, { signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS) });
  const address = URL.createObjectURL(await answer.blob());
  const link = document.createElement('a');
  link.href = address;
  link.download = nameIn(answer.headers.get('content-disposition') ?? '');
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), RELEASE_AFTER_MS);
}

/** The name that the peer gives the file (RFC 6266). */
export function nameIn(disposition) {
  const coded = /filename\*=UTF-8''([^;]+)/i.exec(disposition)?.[1];
  return coded === undefined
    ? (/filename="([^"]*)"/.exec(disposition)?.[1] ?? '')
    : decodeURIComponent(coded);
}
