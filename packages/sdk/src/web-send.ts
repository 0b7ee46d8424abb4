/** `fetch` as a `Send`: what browsers, Node and other runtimes have. */
import type { Answer } from './call.ts';
import type { Send } from './exchange.ts';

/** @param fetch Another fetch than the global one. */
export function webSend(fetch = globalThis.fetch): Send<Answer<ReadableStream<Uint8Array>>> {
  return async (url, { body, ...request }) => {
    const isStream = typeof body === 'object';
    const init = {
      ...request,
      // A redirect is an answer; where the runtime keeps its headers back, it has no location.
      redirect: 'manual',
      ...(body === undefined ? {} : { body: isStream ? streamOf(body) : body }),
      ...(isStream ? ({ duplex: 'half' } as const) : {}), // fetch asks for this word with a stream
    } as const;
    const response = await fetch(url, init);
    return {
      status: response.status,
      headers: response.headers,
      body: response.body ?? streamOf(nothing()),
      text: () => response.text(),
    };
  };
}

/** As `ReadableStream.from`, which not all browsers have. */
function streamOf(bytes: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array<ArrayBuffer>> {
  const source = bytes[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const next = await source.next();
      if (next.done === true) controller.close();
      // A view of shared memory can't be sent, and none of our sources makes one.
      else controller.enqueue(next.value as Uint8Array<ArrayBuffer>);
    },
    async cancel() {
      await source.return?.();
    },
  });
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
