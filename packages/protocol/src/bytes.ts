/** Sizes that several parts of Shoal must agree on, in bytes. */

/** One KiB, MiB and GiB: powers of 1024, as in every size that Shoal prints. */
export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

/** A file is cut every this many bytes (profile `unixfs-v1-2025`, IPIP-499). */
export const CHUNK_SIZE_BYTES = MiB;

/**
 * No block is larger: the limit that Kubo, Helia and the trustless-gateway specification share.
 * Past it: 413 `body-too-large`; a larger frame is 400, a larger leaf in a manifest 422.
 */
export const BLOCK_SIZE_MAX_BYTES = 2 * MiB;

/**
 * A dag-pb node of a file links to at most this many children (profile `unixfs-v1-2025`).
 * Past it: another level is begun.
 */
export const DAG_WIDTH_MAX = 1024;

/**
 * Blocks of the largest DAG that is listed: a file of 16 TiB in chunks of 1 MiB.
 * Past it: 422 `manifest-invalid`; a pin or a have-map of more is refused.
 */
export const DAG_BLOCKS_MAX = 16 * MiB;

/** Bytes of the files of such a DAG. Past it: the pin is refused. */
export const DAG_SIZE_MAX_BYTES = DAG_BLOCKS_MAX * BLOCK_SIZE_MAX_BYTES;

/**
 * Ids in one job, offer or have-question: keeps bodies under 8 KiB and retries small.
 * Past it: 400; our own lists are cut into several.
 */
export const CIDS_PER_BATCH_MAX = 64;

/** Small blocks that go in one body from the chunker to its peer's transfer service. Past it: the next body. */
export const SMALL_BLOCKS_MAX = 256;
