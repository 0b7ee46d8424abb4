import { runService } from '@shoal/chassis';
import { storage } from './index.ts';

void runService(storage, process.env);
