export * from './audit.ts';
export * from './mount-audit.ts';
export * from './requests.ts';
export * from './roster-changes.ts';
