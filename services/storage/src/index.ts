import { defineService } from '@shoal/chassis';
import { StorageConfig } from './config.ts';
import { startStorage } from './start.ts';

/** This service, to be run as a process (main.ts) or opened beside others. */
export const storage = defineService('storage', StorageConfig, startStorage);
