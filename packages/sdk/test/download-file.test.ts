import { describe, expect, it } from '@jest/globals';
import { type Answer, downloadCar, downloadFile, readFileName } from '../src/index.ts';

const { signal } = new AbortController();
const hash = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

/** A peer that answers every request with these headers. */
function peerWith(headers: Record<string, string>, status = 200) {
  const asked: string[] = [];
  const send = async (url: string): Promise<Answer<string>> => {
    asked.push(url);
    return { status, headers: new Headers(headers), body: 'bytes', text: async () => '' };
  };
  return { asked, options: { signal, send } };
}

describe('headers of a download', () => {
  it('reads UTF-8 names before plain ones', () => {
    expect(readFileName(`attachment; filename="a.txt"; filename*=UTF-8''%C3%A4%20b.txt`)).toBe(
      'ä b.txt',
    );
    expect(readFileName('attachment; filename="a \\"b\\".txt"')).toBe('a "b".txt');
    expect(readFileName("inline; filename*=UTF-8''%zz")).toBeUndefined();
    expect(readFileName(undefined)).toBeUndefined();
  });

  it('reads the sha-256 among other digests', async () => {
    const digest = 'sha-512=:AAAA:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:';
    const { options } = peerWith({ 'repr-digest': digest, 'content-length': '5' });
    expect(await downloadFile('http://peer', hash, options)).toEqual({
      name: undefined,
      sizeBytes: 5,
      sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      body: 'bytes',
    });
  });

  it('states no digest that it can not read', async () => {
    const { options } = peerWith({ 'repr-digest': 'sha-256=nonsense' });
    expect(await downloadFile('http://peer', hash, options)).toMatchObject({ sha256: undefined });
  });
});

describe('a download', () => {
  it('of a directory says where that is served', async () => {
    const { asked, options } = peerWith({ location: `/ipfs/${hash}/` }, 302);
    const answer = await downloadFile('http://peer/below', hash, options);
    expect(answer).toEqual({ location: `/ipfs/${hash}/` });
    expect(asked).toEqual([`http://peer/below/files/${hash}?download=true`]);
  });

  it('of a DAG asks for each block where a walk comes by it', async () => {
    const { asked, options } = peerWith({});
    expect(await downloadCar('http://peer', hash, options)).toBe('bytes');
    expect(asked).toEqual([`http://peer/ipfs/${hash}?format=car&car-dups=y&car-order=dfs`]);
  });
});
