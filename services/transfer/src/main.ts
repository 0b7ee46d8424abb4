import { runService } from '@shoal/chassis';
import { transfer } from './index.ts';

void runService(transfer, process.env);
