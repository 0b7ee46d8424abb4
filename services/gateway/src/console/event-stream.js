/**
 * Server-sent events over fetch (WHATWG HTML §9.2): the browser's own EventSource sends no headers, so it can't say who
 * is signed in, and a token in an address would end up in logs.
 */
import { tokenHeaders } from './token.js';

/** The pause before it listens again. */
const LISTEN_AGAIN_MS = 2000;
/** The same after a refusal: too many listen, or a token is missing. */
const REFUSED_AGAIN_MS = 10_000;

/** Listens from now on; the function that it gives begins anew, as with another token. */
export function listen({ onOpen, onLost, onEvent }) {
  let stop = new AbortController();
  let timer;
  const run = async () => {
    clearTimeout(timer);
    const { signal } = stop;
    let pauseMs = LISTEN_AGAIN_MS;
    try {
      const answer = await fetch('events', { headers: tokenHeaders(), signal });
      if (!answer.ok) pauseMs = REFUSED_AGAIN_MS;
      else {
        onOpen();
        const read = createReader(onEvent);
        const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
          const { done, value } = await pieces.read();
          if (done) break;
          read(value);
        }
      }
    } catch {
      // It broke off, or never began.
    }
    if (signal.aborted) return;
    onLost();
    timer = setTimeout(() => void run(), pauseMs);
  };
  void run();
  return () => {
    stop.abort();
    stop = new AbortController();
    void run();
  };
}

/** Reads pieces of a stream, however they were cut, and calls back with the kind and data of each event. */
export function createReader(onEvent) {
  let held = '';
  let kind = 'message';
  let data = [];
  return (piece) => {
    const lines = (held + piece).split(/\r\n|\n|\r(?!$)/);
    held = lines.pop();
    for (const line of lines) {
      const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
      if (line === '') {
        if (data.length > 0) onEvent(kind, data.join('\n'));
        kind = 'message';
        data = [];
      } else if (name === 'event') kind = value;
      else if (name === 'data') data.push(value);
    }
  };
}
