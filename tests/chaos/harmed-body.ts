import { seededStream, type TestFile } from '@shoal/testkit';

/** A file's bytes for an upload, during which something is done once this many were taken. */
export async function* harmedBody(
  { seed, sizeBytes }: TestFile,
  atByte: number,
  act: () => Promise<void>,
): AsyncGenerator<Uint8Array> {
  let givenBytes = 0;
  let isDone = false;
  for await (const piece of seededStream(seed, sizeBytes)) {
    yield piece;
    givenBytes += piece.length;
    if (isDone || givenBytes < atByte) continue;
    isDone = true;
    await act();
  }
}
