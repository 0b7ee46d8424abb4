/**
 * CARs (content-addressable archives), version 1 and what version 2 wraps, block by block as they come
 * in: https://ipld.io/specs/transport/car/.
 *
 * The framing is read here, since a library that trusts the lengths in a stream would buffer whatever
 * a sender claims; only the header, which is bounded, goes through `@ipld/car`. Blocks are not
 * verified here.
 */
import { CarBufferReader } from '@ipld/car/buffer-reader';
import { BLOCK_SIZE_MAX_BYTES, CarInvalid, KiB } from '@shoal/protocol';
import { CID } from 'multiformats/cid';

/** Room for some 1500 roots. Past it: 400. */
const CAR_HEADER_MAX_BYTES = 64 * KiB;
/** A CID in front of a block: an identity CID that holds all it may is below this. Past it: 400. */
const CAR_CID_MAX_BYTES = 256;
/** The first bytes of version 2, a header that says the version and nothing else. */
const V2_PRAGMA = Uint8Array.of(0xa1, 0x67, 0x76, 0x65, 0x72, 0x73, 0x69, 0x6f, 0x6e, 0x02);
/** After the pragma: 16 bytes of flags, then offset and size of the data, and the offset of an index. */
const V2_HEADER_BYTES = 40;
/** A varint of a safe integer has at most this many bytes. Past it: 400. */
const VARINT_MAX_BYTES = 8;

export interface CarBlock {
  /** As the CAR spells it. */
  readonly cid: CID;
  /** Memory of its own. */
  readonly bytes: Uint8Array;
}

export interface Car {
  readonly roots: readonly CID[];
  /** To be read once, to its end. @throws CarInvalid where the stream breaks off or makes no sense. */
  readonly blocks: AsyncGenerator<CarBlock, void, undefined>;
}

/** Reads the header of a CAR. Holds one block at a time. @throws CarInvalid; whatever the source throws. */
export async function openCar(source: AsyncIterable<Uint8Array>): Promise<Car> {
  const reader = createReader(source);
  let header = await readHeader(reader);
  if (Buffer.compare(header, V2_PRAGMA) === 0) {
    await unwrapV2(reader);
    header = await readHeader(reader);
  }
  return { roots: rootsOf(header), blocks: readBlocks(reader) };
}

async function* readBlocks(reader: Reader): AsyncGenerator<CarBlock, void, undefined> {
  for (;;) {
    const sizeBytes = await readVarint(reader);
    if (sizeBytes === undefined) break;
    if (sizeBytes > CAR_CID_MAX_BYTES + BLOCK_SIZE_MAX_BYTES)
      throw new CarInvalid({
        reason: `a block in it is larger than ${BLOCK_SIZE_MAX_BYTES} bytes`,
      });
    yield splitSection(await reader.take(sizeBytes));
  }
  await reader.drain(); // of version 2, its index
}

function splitSection(section: Uint8Array): CarBlock {
  let cid: CID;
  let bytes: Uint8Array;
  try {
    [cid, bytes] = CID.decodeFirst(section);
  } catch (cause) {
    throw new CarInvalid({ reason: 'a block in it has no CID that can be read' }, { cause });
  }
  if (bytes.length > BLOCK_SIZE_MAX_BYTES)
    throw new CarInvalid({
      reason: `${cid.toString()} has ${bytes.length} bytes; a block has at most ${BLOCK_SIZE_MAX_BYTES}`,
    });
  return { cid, bytes };
}

async function readHeader(reader: Reader): Promise<Uint8Array> {
  const sizeBytes = await readVarint(reader);
  if (sizeBytes === undefined) throw new CarInvalid({ reason: 'it is empty' });
  if (sizeBytes === 0 || sizeBytes > CAR_HEADER_MAX_BYTES)
    throw new CarInvalid({ reason: `its header cannot have ${sizeBytes} bytes` });
  return reader.take(sizeBytes);
}

function rootsOf(header: Uint8Array): CID[] {
  const size: number[] = [];
  for (let rest = header.length; ; rest >>>= 7) {
    size.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    if (rest <= 0x7f) break;
  }
  try {
    return CarBufferReader.fromBytes(Uint8Array.from([...size, ...header])).getRoots();
  } catch (cause) {
    throw new CarInvalid({ reason: 'its header is not that of a CAR' }, { cause });
  }
}

async function unwrapV2(reader: Reader): Promise<void> {
  const header = await reader.take(V2_HEADER_BYTES);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const [offset, size] = [view.getBigUint64(16, true), view.getBigUint64(24, true)].map(Number);
  const skipBytes = (offset ?? 0) - reader.position;
  if (size === undefined || !Number.isSafeInteger(size) || !(skipBytes >= 0))
    throw new CarInvalid({ reason: 'its second header contradicts itself' });
  for (let left = skipBytes; left > 0; left -= CAR_HEADER_MAX_BYTES)
    await reader.take(Math.min(left, CAR_HEADER_MAX_BYTES));
  reader.limit(size);
}

/** Undefined at the end of the stream. */
async function readVarint(reader: Reader): Promise<number | undefined> {
  let value = 0;
  for (let at = 0; at < VARINT_MAX_BYTES; at += 1) {
    if (at === 0 && (await reader.isOver())) return undefined;
    const [byte = 0] = await reader.take(1);
    value += (byte & 0x7f) * 2 ** (7 * at);
    if (byte < 0x80) return value;
  }
  throw new CarInvalid({ reason: 'a length in it is not one' });
}

/** Takes exact numbers of bytes from a stream of any pieces. */
interface Reader {
  /** Memory of its own. @throws CarInvalid when the stream ends before. */
  take(sizeBytes: number): Promise<Uint8Array>;
  isOver(): Promise<boolean>;
  /** Ends after this many bytes more, though the source goes on; not before. */
  limit(sizeBytes: number): void;
  /** Reads the source to its end. */
  drain(): Promise<void>;
  readonly position: number;
}

function createReader(source: AsyncIterable<Uint8Array>): Reader {
  const pieces = source[Symbol.asyncIterator]();
  let piece: Uint8Array = new Uint8Array();
  let position = 0;
  let end: number | undefined;
  const truncated = () => new CarInvalid({ reason: 'it is cut off' });
  /** Makes sure that `piece` has a byte; false when there are no more. */
  const more = async (): Promise<boolean> => {
    while (piece.length === 0) {
      const next = await pieces.next();
      if (next.done === true) return false;
      piece = next.value;
    }
    return true;
  };
  return {
    async take(sizeBytes) {
      if (end !== undefined && position + sizeBytes > end) throw truncated();
      const bytes = new Uint8Array(sizeBytes);
      for (let filled = 0; filled < sizeBytes;) {
        if (!(await more())) throw truncated();
        const part = piece.subarray(0, sizeBytes - filled);
        bytes.set(part, filled);
        piece = piece.subarray(part.length);
        filled += part.length;
        position += part.length;
      }
      return bytes;
    },
    async isOver() {
      if (end !== undefined) return position === end;
      return !(await more());
    },
    limit: (sizeBytes) => {
      end = position + sizeBytes;
    },
    async drain() {
      while (await more()) piece = new Uint8Array();
    },
    get position() {
      return position;
    },
  };
}
