import { runService } from '@shoal/chassis';
import { chunker } from './index.ts';

await runService(chunker, process.env);
