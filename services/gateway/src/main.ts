import { runService } from '@shoal/chassis';
import { GatewayConfig } from './config.ts';
import { startGateway } from './start.ts';

await runService('gateway', GatewayConfig, process.env, startGateway);
