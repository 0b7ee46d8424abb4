import { describe, expect, it } from '@jest/globals';
import { readPartHeaders } from '../src/request/part-headers.ts';

describe('the headers of a part', () => {
  const read = (text: string) => readPartHeaders(text, { headersMax: 8 });

  it('have names with quotes, without any, and beside other headers', () => {
    const quoted = `X-Other: 1\r\ncontent-disposition: form-data; name="a\\"b"; filename="x"`;
    expect(read(quoted)).toEqual({ disposition: 'form-data', name: 'a"b' });
    const bare = 'Content-Disposition: Form-Data; name=file-1?mode=0644; filename=c';
    expect(read(bare)).toEqual({ disposition: 'form-data', name: 'file-1?mode=0644' });
    expect(read('Content-Type: Text/Plain; charset=utf-8')).toEqual({
      name: undefined,
      disposition: undefined,
    });
  });
});
