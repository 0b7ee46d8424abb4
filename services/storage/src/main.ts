import { runService } from '@shoal/chassis';
import { StorageConfig } from './config.ts';
import { startStorage } from './start.ts';

await runService('storage', StorageConfig, process.env, startStorage);
