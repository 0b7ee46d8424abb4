import { defineService } from '@shoal/chassis';
import { DiscoveryConfig } from './config.ts';
import { startDiscovery } from './start.ts';

/** This service, to be run as a process (main.ts) or opened beside others. */
export const discovery = defineService('discovery', DiscoveryConfig, startDiscovery);
