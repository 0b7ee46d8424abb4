import { runService } from '@shoal/chassis';
import { transfer } from './index.ts';

await runService(transfer, process.env);
