import { runService } from '@shoal/chassis';
import { gateway } from './index.ts';

await runService(gateway, process.env);
