export * from './compared-mark.ts';
export * from './invite-code.ts';
export * from './keys.ts';
export * from './record.ts';
export * from './roster.ts';
export * from './roster-file.ts';
export * from './signed-text.ts';
