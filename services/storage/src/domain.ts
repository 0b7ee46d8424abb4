import { readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import type { FailureDomain } from '@shoal/protocol';

/** What this folder shares with others that one accident may take: the boot of the host, the disk. */
export function readDomain(dir: string): FailureDomain {
  const disk = String(statSync(dir).dev);
  try {
    return { host: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(), disk };
  } catch {
    return { host: hostname().slice(0, 64), disk }; // not Linux: the name must do
  }
}
