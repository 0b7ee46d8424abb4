export { CLI_MAIN, compileCacheDir, programOf } from '@shoal/cli';
