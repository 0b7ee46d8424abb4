export * from './failure.ts';
export * from './launch/peer-plan.ts';
export * from './launch/ports.ts';
export * from './launch/programs.ts';
export * from './launch/redis-server.ts';
export * from './launch/run-folder.ts';
