import { expect, it } from '@jest/globals';
import { framed } from '../../src/answer/send-body.ts';

const bytes = (text: string) => Buffer.from(text);

/** A block, and how often it was given back. */
function lent() {
  let given = 0;
  const block = { bytes: bytes('block'), release: () => void (given += 1) };
  return { block, given: () => given };
}

it('a framed block is given back once, by whoever it was passed to', async () => {
  const { block, given } = lent();
  const texts: string[] = [];
  for await (const piece of framed(bytes('before'), block, bytes('after'))) {
    texts.push(Buffer.from(piece.bytes).toString());
    piece.release();
  }
  expect([texts, given()]).toEqual([['before', 'block', 'after'], 1]);
});

it('a framed block is given back though its reader leaves before it', async () => {
  const { block, given } = lent();
  const pieces = framed(bytes('before'), block);
  await pieces.next();
  expect(given()).toBe(0);
  await pieces.return();
  expect(given()).toBe(1);
});
