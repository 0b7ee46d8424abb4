export * from './bits.ts';
export { cidOf, codecOf, digestOf, hashBlock, partitionOf } from './cid.ts';
export * from './chunk.ts';
export * from './dag.ts';
export * from './reassemble.ts';
export * from './verify.ts';
