import { runService } from '@shoal/chassis';
import { gateway } from './index.ts';

void runService(gateway, process.env);
