import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  checkedName,
  chunkerRoutes,
  discoveryRoutes,
  FILE_NAME_MAX_BYTES,
  FileName,
  fileNameFault,
  FileNameInvalid,
  nameProblemOf,
  PIN_NAME_MAX_BYTES,
  PinName,
  transferRoutes,
} from '../src/index.ts';

const CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

describe('a file name', () => {
  it.each(['report.pdf', 'größe.txt', '写真 📷.jpg', '...', '.bashrc', 'a'.repeat(255), ' x'])(
    'may be %j',
    (name) => {
      expect(fileNameFault(name)).toBeUndefined();
    },
  );

  it.each([
    ['', /empty/],
    ['../etc/passwd', /separator/],
    ['a\\b', /separator/],
    ['..', /folder/],
    ['a\u0000b', /control/],
    ['a\nb', /control/],
    ['x\u202egpj.exe', /reverses/],
    ['é'.repeat(128), /longer than 255 bytes/],
    ['x'.repeat(10_240), /longer/],
    ['\ud800', /Unicode/],
  ])('may not be %j', (name, reason) => {
    expect(fileNameFault(name)).toMatch(reason);
    expect(FileName.safeParse(name).success).toBe(false);
    expect(() => checkedName(name)).toThrow(FileNameInvalid);
  });

  it('that is accepted fits a path segment and a header', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (name) => {
        fc.pre(fileNameFault(name) === undefined);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(FILE_NAME_MAX_BYTES);
        expect(decodeURIComponent(encodeURIComponent(name))).toBe(name);
        expect(PinName.parse(name)).toBe(name);
      }),
      { seed: 20261122 },
    );
  });

  it('is never longer than pins of any version may say', () => {
    expect(PIN_NAME_MAX_BYTES).toBeGreaterThanOrEqual(255);
    expect(FILE_NAME_MAX_BYTES).toBeLessThanOrEqual(PIN_NAME_MAX_BYTES);
  });

  it.each([
    ['PUT /files/:name', chunkerRoutes.putFile.params, { name: 'a/b' }],
    ['POST /files', chunkerRoutes.addFile.query, { name: 'a/b' }],
    ['POST /directories', chunkerRoutes.addDirectory.query, { name: 'a/b' }],
    ['POST /ipfs', chunkerRoutes.importBlocks.query, { name: 'a/b' }],
    ['POST /pins', chunkerRoutes.addPin.body, { cid: CID, name: 'a/b' }],
    ['PATCH /files/:hash', discoveryRoutes.changeFile.body, { name: 'a/b' }],
    ['GET /files/:hash', transferRoutes.getFile.query, { filename: 'a/b' }],
  ])('that is bad is the same problem to %s', (_, schema, given) => {
    const [issue] = schema.safeParse(given).error?.issues ?? [];
    const problem = issue === undefined ? undefined : nameProblemOf(issue);
    expect(problem).toBeInstanceOf(FileNameInvalid);
    expect(problem?.message).toContain('it contains a path separator');
  });

  it('is no matter of an issue about something else', () => {
    const [issue] =
      chunkerRoutes.addPin.body.safeParse({ cid: CID, replicas: 99, name: 'a' }).error?.issues ??
      [];
    if (issue === undefined) throw new Error('99 copies were taken');
    expect(nameProblemOf(issue)).toBeUndefined();
  });
});
