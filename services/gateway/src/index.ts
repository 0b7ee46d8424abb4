import { defineService } from '@shoal/chassis';
import { GatewayConfig } from './config.ts';
import { startGateway } from './start.ts';

/** This service, to be run as a process (main.ts) or opened beside others. */
export const gateway = defineService('gateway', GatewayConfig, startGateway);
