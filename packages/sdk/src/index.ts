export * from './call.ts';
export * from './download-file.ts';
export * from './exchange.ts';
export * from './list-files.ts';
export * from './web-send.ts';
