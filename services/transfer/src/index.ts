import { defineService } from '@shoal/chassis';
import { TransferConfig } from './config.ts';
import { startTransfer } from './start.ts';

/** This service, to be run as a process (main.ts) or opened beside others. */
export const transfer = defineService('transfer', TransferConfig, startTransfer);
