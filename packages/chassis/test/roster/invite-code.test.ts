import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  createInviteSecret,
  createSeed,
  InviteCodeWrong,
  keyPairOf,
  keyPairOfInvite,
  readInviteCode,
  writeInviteCode,
} from '../../src/index.ts';

const code = (addresses: readonly string[] = ['192.0.2.1:7104', '[2001:db8::1]:7104']) => ({
  inviter: keyPairOf(createSeed()).id,
  secret: createInviteSecret(),
  expiresAtMs: 1_800_000_000_000,
  addresses,
});

describe('an invitation', () => {
  it('is one word that a double click marks, and says the same when it is read', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a.example:1', '192.0.2.9:65535'), { maxLength: 4 }),
        (at) => {
          const invite = code(at);
          const line = writeInviteCode(invite);
          expect(line).toMatch(/^sh1_[1-9A-HJ-NP-Za-km-z]+$/);
          const read = readInviteCode(` ${line}\n`);
          expect({ ...read, secret: Buffer.from(read.secret) }).toEqual({
            ...invite,
            secret: Buffer.from(invite.secret),
          });
          expect(keyPairOfInvite(read.secret).id).toBe(keyPairOfInvite(invite.secret).id);
        },
      ),
    );
  });

  it('is refused with any letter changed, left out or too many', () => {
    const line = writeInviteCode(code());
    for (let at = 4; at < line.length; at += 1) {
      const [before, after] = [line.slice(0, at), line.slice(at + 1)];
      const other = line[at] === 'x' ? 'y' : 'x';
      for (const wrong of [before + other + after, before + after, before + other + line.slice(at)])
        expect(() => readInviteCode(wrong)).toThrow(InviteCodeWrong);
    }
  });

  it.each([
    ['', 'it is not an invitation: one begins with sh1_'],
    ['12D3KooWEGrzgVSMmfCxMBaLmRcJYCNqtvjdgMXeqwdzDYRQfEgP', 'it is not an invitation'],
    ['sh1_', 'check digits'],
    ['sh1_0OIl', 'a letter that no invitation has'],
    [`sh1_${'z'.repeat(2000)}`, 'it is not an invitation'],
  ])('that is "%s" is none, and the reason says so', (line, reason) => {
    expect(() => readInviteCode(line)).toThrow(reason);
  });
});
