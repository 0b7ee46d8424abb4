export * from './start-peer.ts';
export * from './start-services.ts';
