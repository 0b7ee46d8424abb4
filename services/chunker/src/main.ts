import { runService } from '@shoal/chassis';
import { chunker } from './index.ts';

void runService(chunker, process.env);
