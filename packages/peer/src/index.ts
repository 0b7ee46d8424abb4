export * from './start-services.ts';
