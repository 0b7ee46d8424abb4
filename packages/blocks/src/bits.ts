/** Packed bits, as have-maps carry them: bit 0 is the high bit of the first byte. */

/** `count` bits, all clear. */
export const createBits = (count: number): Uint8Array => new Uint8Array(Math.ceil(count / 8));

export function setBit(bits: Uint8Array, index: number): void {
  bits[index >> 3] = (bits[index >> 3] ?? 0) | (0x80 >> (index & 7));
}

export function getBit(bits: Uint8Array, index: number): boolean {
  return ((bits[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0;
}

/** How many bits are set. */
export function countBits(bits: Uint8Array): number {
  let count = 0;
  for (let byte of bits) for (; byte !== 0; byte &= byte - 1) count += 1;
  return count;
}

/** As base64url, the form on the wire. */
export const encodeBits = (bits: Uint8Array): string => Buffer.from(bits).toString('base64url');

/** Back from the wire. @throws RangeError when there are not exactly the bytes for `count` bits. */
export function decodeBits(text: string, count: number): Uint8Array {
  const bits = new Uint8Array(Buffer.from(text, 'base64url'));
  if (bits.length !== Math.ceil(count / 8))
    throw new RangeError(`${bits.length} bytes can't be ${count} bits`);
  return bits;
}

/**
 * Those of the CIDs, or of what else was asked about in this order, whose bit is set in the answer.
 *
 * @throws RangeError when there are not exactly the bytes for that many bits.
 */
export function heldOf<T>(cids: readonly T[], bits: string): T[] {
  const held = decodeBits(bits, cids.length);
  return cids.filter((_, index) => getBit(held, index));
}
