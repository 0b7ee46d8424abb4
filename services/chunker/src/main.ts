import { runService } from '@shoal/chassis';
import { ChunkerConfig } from './config.ts';
import { startChunker } from './start.ts';

await runService('chunker', ChunkerConfig, process.env, startChunker);
