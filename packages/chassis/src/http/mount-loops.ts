import { loopRoutes, type Service } from '@shoal/protocol';
import type { Loops } from '../process/loops.ts';
import { mount, type Mounting } from './mount.ts';

/** Answers this peer's own services with the loops of this one. */
export function mountLoops(mounting: Mounting, service: Service, loops: Loops): void {
  mount(mounting, loopRoutes[service], async () => ({ loops: loops.report() }));
}
