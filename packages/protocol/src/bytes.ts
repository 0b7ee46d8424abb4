/** Sizes that several parts of Shoal must agree on, in bytes. */

/** One KiB, MiB and GiB: powers of 1024, as in every size that Shoal prints. */
export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

/** A file is cut every this many bytes (profile `unixfs-v1-2025`, IPIP-499). */
export const CHUNK_SIZE_BYTES = MiB;

/** No block is larger: the limit that Kubo, Helia and the trustless-gateway specification share. */
export const BLOCK_SIZE_MAX_BYTES = 2 * MiB;

/** A dag-pb node of a file links to at most this many children (profile `unixfs-v1-2025`). */
export const DAG_WIDTH_MAX = 1024;

/** Blocks of the largest DAG that is listed: a file of 16 TiB in chunks of 1 MiB. */
export const DAG_BLOCKS_MAX = 16 * MiB;

/** Bytes of the files of such a DAG. */
export const DAG_SIZE_MAX_BYTES = DAG_BLOCKS_MAX * BLOCK_SIZE_MAX_BYTES;

/** Ids in one job, offer or have-question: keeps bodies under 8 KiB and retries small. */
export const CIDS_PER_BATCH_MAX = 64;
