export * from './accept.ts';
export * from './accept-people.ts';
export * from './clear-text.ts';
export * from './peer-tls.ts';
