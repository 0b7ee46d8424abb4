export * from './place.ts';
export * from './rank.ts';
