import { runService } from '@shoal/chassis';
import { discovery } from './index.ts';

await runService(discovery, process.env);
