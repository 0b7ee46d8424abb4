export * from './place.ts';
export * from './rank.ts';
export * from './member-table.ts';
export * from './pin-set.ts';
export * from './roster.ts';
export * from './rumours.ts';
export * from './survival.ts';
export * from './trust.ts';
