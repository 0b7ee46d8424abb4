export * from './failure.ts';
export * from './peer-plan.ts';
export * from './ports.ts';
export * from './programs.ts';
export * from './redis-server.ts';
export * from './run-folder.ts';
