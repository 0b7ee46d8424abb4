import { runService } from '@shoal/chassis';
import { TransferConfig } from './config.ts';
import { startTransfer } from './start.ts';

await runService('transfer', TransferConfig, process.env, startTransfer);
