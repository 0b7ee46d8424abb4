import { runService } from '@shoal/chassis';
import { DiscoveryConfig } from './config.ts';
import { startDiscovery } from './start.ts';

await runService('discovery', DiscoveryConfig, process.env, startDiscovery);
