import { runService } from '@shoal/chassis';
import { storage } from './index.ts';

await runService(storage, process.env);
