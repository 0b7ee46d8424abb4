export * from './accept.ts';
export * from './peer-tls.ts';
