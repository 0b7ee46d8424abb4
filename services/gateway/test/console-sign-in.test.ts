/** The parts of the console that know who is signed in; how the page looks is for a browser to show. */
import { describe, expect, it } from '@jest/globals';

interface Modules {
  readonly token: () => string | undefined;
  readonly keepToken: (text: string, how: { stays: boolean }) => void;
  readonly forgetToken: () => void;
  readonly tokenHeaders: () => Record<string, string>;
  readonly createReader: (onEvent: (kind: string, data: string) => void) => (piece: string) => void;
  readonly nameIn: (disposition: string) => string;
}

function storage() {
  const all = new Map<string, string>();
  return {
    getItem: (key: string) => all.get(key) ?? null,
    setItem: (key: string, value: string) => void all.set(key, value),
    removeItem: (key: string) => void all.delete(key),
  };
}

/** Loads the files as a browser does whose address has this behind its `#`. */
async function load(hash: string) {
  const shown: string[] = [];
  Object.assign(globalThis, {
    location: { href: 'http://peer.test/x?y', pathname: '/x', search: '?y', hash },
    history: { replaceState: (_: unknown, __: string, url: string) => shown.push(url) },
    sessionStorage: storage(),
    localStorage: storage(),
  });
  const fresh = `?${encodeURIComponent(hash)}`;
  const of = async (name: string, query = '') =>
    (await import(new URL(`../src/console/${name}${query}`, import.meta.url).href)) as Modules;
  return {
    shown,
    ...(await of('token.js', fresh)),
    createReader: (await of('event-stream.js')).createReader,
    nameIn: (await of('files/downloads.js')).nameIn,
  };
}

describe('the token of who is signed in', () => {
  it('is taken from the address, which then has none', async () => {
    const { token, tokenHeaders, shown } = await load('#token=shoal1.abc-_9');
    expect(token()).toBe('shoal1.abc-_9');
    expect(tokenHeaders()).toEqual({ authorization: 'Bearer shoal1.abc-_9' });
    expect([...new Set(shown)]).toEqual(['/x?y']);
  });

  it('leaves an address without one as it is', async () => {
    const { token, tokenHeaders, shown } = await load('#files-title');
    expect([token(), tokenHeaders(), shown]).toEqual([undefined, {}, []]);
  });

  it('is kept for the tab or for the browser, and forgotten in both', async () => {
    const { token, keepToken, forgetToken } = await load('');
    const { sessionStorage, localStorage } = globalThis as unknown as Record<
      'sessionStorage' | 'localStorage',
      ReturnType<typeof storage>
    >;
    keepToken('one', { stays: false });
    expect([sessionStorage.getItem('write-token'), localStorage.getItem('write-token')]).toEqual([
      'one',
      null,
    ]);
    keepToken('two', { stays: true });
    expect([token(), sessionStorage.getItem('write-token')]).toEqual(['two', null]);
    forgetToken();
    expect(token()).toBeUndefined();
  });
});

describe('the event stream', () => {
  it('gives the same events however it is cut', async () => {
    const { createReader } = await load('');
    const text =
      'retry: 2000\n\n: alive\n\nevent: pin\ndata: {"a":1}\n\ndata: x\r\ndata: y\r\n\r\n';
    for (let size = 1; size <= text.length; size += 1) {
      const events: [string, string][] = [];
      const read = createReader((kind, data) => events.push([kind, data]));
      for (let at = 0; at < text.length; at += size) read(text.slice(at, at + size));
      expect(events).toEqual([
        ['pin', '{"a":1}'],
        ['message', 'x\ny'],
      ]);
    }
  });
});

describe('a file that the page saves', () => {
  it('has the name that the peer gives it', async () => {
    const { nameIn } = await load('');
    expect(nameIn('attachment; filename="a b.txt"')).toBe('a b.txt');
    expect(nameIn(`attachment; filename="_.txt"; filename*=UTF-8''%C3%A4%20b.txt`)).toBe('ä b.txt');
    expect(nameIn('')).toBe('');
  });
});
