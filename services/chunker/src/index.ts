import { defineService } from '@shoal/chassis';
import { ChunkerConfig } from './config.ts';
import { startChunker } from './start.ts';

/** This service, to be run as a process (main.ts) or opened beside others. */
export const chunker = defineService('chunker', ChunkerConfig, startChunker);
