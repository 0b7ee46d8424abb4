/**
 * Large files go in pieces (tus 1.0): a connection that breaks, or a peer that restarts, costs a piece
 * and not the file.
 */
import { Refused, send as ask } from '../ask.js';

const MiB = 1024 * 1024;
/** Smaller files go in one request: sending them again costs little. */
export const PIECES_FROM_BYTES = 64 * MiB;
/** Small enough to see progress, large enough that requests cost nothing. */
const PIECE_SIZE_BYTES = 8 * MiB;
/** Failures in a row, some two minutes. Past it: the upload is shown as failed. */
const FAILURES_MAX = 10;
const RETRY_FIRST_MS = 500;
const RETRY_LAST_MS = 20_000;
/** Refused for now: the upload is kept and may be resumed. Other refusals are final. */
const PASSING = new Set([408, 409, 423, 429, 500, 502, 503, 504]);

/**
 * Uploads a file and gives the answer that an upload gets. `onSent` gets how much is safe here,
 * `onTrouble` why it waits before it tries again. An abort ends the upload, here and at the peer.
 */
export async function sendInPieces(file, { onSent, onTrouble, signal }) {
  const created = await send('POST', 'uploads', {
    headers: {
      'upload-length': String(file.size),
      'upload-metadata': `filename ${base64Of(file.name)}`,
    },
    signal,
  });
  const url = new URL(created.headers.get('location'), created.url).href;
  signal.addEventListener('abort', () => void send('DELETE', url, {}).catch(() => {}));
  let offset = 0;
  let isKept = file.size === 0;
  for (let failures = 0; !isKept;) {
    try {
      if (failures > 0) offset = offsetIn(await send('HEAD', url, { signal }));
      const answer = await send('PATCH', url, {
        headers: {
          'content-type': 'application/offset+octet-stream',
          'upload-offset': String(offset),
        },
        body: file.slice(offset, offset + PIECE_SIZE_BYTES),
        signal,
      });
      offset = offsetIn(answer);
      isKept = offset === file.size;
      failures = 0;
      onSent(offset);
    } catch (error) {
      failures += 1;
      if (signal.aborted || isFinal(error) || failures > FAILURES_MAX) throw error;
      onTrouble(error.message);
      const waitMs = Math.min(RETRY_FIRST_MS * 2 ** (failures - 1), RETRY_LAST_MS);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }
  return (await send('GET', url, { signal })).json();
}

const send = (method, url, { headers, ...rest }) =>
  ask(method, url, { headers: { 'tus-resumable': '1.0.0', ...headers }, ...rest });

const isFinal = (error) => error instanceof Refused && !PASSING.has(error.status);

const offsetIn = (answer) => Number(answer.headers.get('upload-offset'));

/** Of the text's UTF-8, as tus metadata has it. */
const base64Of = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
