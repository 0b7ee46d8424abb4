import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import type { Pin } from '@shoal/protocol';
import { createRandom } from '@shoal/testkit';
import { TokenUse } from '../../src/pins/token-use.ts';

const NOW = 1000;
const pin = (name: string, fields: Partial<Pin>): Pin =>
  ({ root: hashBlock('raw', Buffer.from(name)), deleted: false, sizeBytes: 1, ...fields }) as Pin;

describe('what a token uses', () => {
  it('is the sum of its live files as they are now, whatever happened to them before', () => {
    const random = createRandom('token use');
    for (let run = 0; run < 100; run += 1) {
      const use = new TokenUse();
      const last = new Map<string, Pin>();
      for (let changes = random.int(0, 30); changes > 0; changes -= 1) {
        const name = random.pick(['a', 'b', 'c']);
        const token = random.pick([undefined, 'one', 'two']);
        const expiresAtMs = random.pick([undefined, NOW, NOW + 1]);
        const made = pin(name, {
          sizeBytes: random.int(0, 100),
          deleted: random.share() < 0.3,
          ...(token === undefined ? {} : { token }),
          ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
        });
        use.note(made.root, [made], NOW);
        last.set(name, made);
      }
      for (const token of ['one', 'two']) {
        const live = [...last.values()].filter(
          (each) => each.token === token && !each.deleted && (each.expiresAtMs ?? Infinity) > NOW,
        );
        expect(use.of(token)).toBe(live.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
      }
    }
  });
});
