export * from './keys.ts';
export * from './pin-right.ts';
export * from './record.ts';
export * from './roster.ts';
export * from './roster-file.ts';
export * from './signed-text.ts';
