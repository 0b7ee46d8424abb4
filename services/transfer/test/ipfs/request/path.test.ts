import { describe, expect, it } from '@jest/globals';
import { CidUnsupported, HashInvalid, RequestInvalid } from '@shoal/protocol';
import { readIpfsPath } from '../../../src/ipfs/request/path.ts';

const CID = 'bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e';

describe('readIpfsPath', () => {
  it('reads a root, decoded segments, and what was asked for as it was', () => {
    expect(readIpfsPath(`/ipfs/${CID}/a%20b/%252F/c%2Fd/?x=1?2`)).toMatchObject({
      asked: `/ipfs/${CID}/a%20b/%252F/c%2Fd/`,
      search: 'x=1?2',
      root: { cid: CID, asGiven: CID },
      segments: ['a b', '%2F', 'c/d'],
      hasFinalSlash: true,
    });
    expect(readIpfsPath(`/ipfs/${CID}`)).toMatchObject({ segments: [], hasFinalSlash: false });
    expect(readIpfsPath(`/ipfs/${CID}//a`).segments).toEqual(['a']);
  });

  it('refuses what is no CID, and what names nothing here', () => {
    expect(() => readIpfsPath('/ipfs/')).toThrow(HashInvalid);
    expect(() => readIpfsPath('/ipfs/hello')).toThrow(HashInvalid);
    const dagCbor = 'bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy';
    expect(() => readIpfsPath(`/ipfs/${dagCbor}`)).toThrow(CidUnsupported);
  });

  it('refuses an endless path before any work', () => {
    expect(readIpfsPath(`/ipfs/${CID}${'/a'.repeat(128)}`).segments).toHaveLength(128);
    expect(() => readIpfsPath(`/ipfs/${CID}${'/a'.repeat(129)}`)).toThrow(RequestInvalid);
  });
});
