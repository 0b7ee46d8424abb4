import { runService } from '@shoal/chassis';
import { discovery } from './index.ts';

void runService(discovery, process.env);
