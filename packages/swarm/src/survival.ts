/**
 * Which accidents take what: the one rule for machines and disks, for placement, for a file's health
 * and for the swarm as a whole.
 *
 * Memory is no disk: it ends with its machine's power. An unknown disk may be
 * any other of its machine, so it counts only where none is known. A disk behind a network is one,
 * whichever machines it is mounted on. All of it errs to the side of fewer.
 */
import {
  DISK_MEMORY,
  DISK_SHARED_PREFIX,
  DOMAIN_UNKNOWN,
  type FailureDomain,
} from '@shoal/protocol';

/** How many of each there are, or may be lost together. */
export interface Spread {
  readonly disks: number;
  readonly machines: number;
}

/** The name of a failure domain: peers with the same one are one accident. */
export function domainKey({ host, disk }: FailureDomain): string {
  return disk.startsWith(DISK_SHARED_PREFIX) ? disk : `${host}/${disk}`;
}

/** Distinct disks and machines under these domains, never more than there are. */
export function spreadOf(domains: readonly FailureDomain[]): Spread {
  const machines = new Set(domains.map(({ host }) => host));
  if (machines.size > 1) machines.delete(DOMAIN_UNKNOWN);
  const onDisk = domains.filter(({ disk }) => disk !== DISK_MEMORY);
  const told = domains.filter(isTold);
  const disks = new Set(told.map(domainKey));
  const toldHosts = new Set(told.map(({ host }) => host));
  const untoldHosts = new Set(
    onDisk.map(({ host }) => host).filter((host) => !toldHosts.has(host)),
  );
  untoldHosts.delete(DOMAIN_UNKNOWN);
  const count = disks.size + untoldHosts.size;
  return { machines: machines.size, disks: Math.max(count, onDisk.length > 0 ? 1 : 0) };
}

/**
 * The loss that every file with this many copies survives, once they are made: the least that
 * placement guarantees over these domains, which takes each of them once before any of them twice.
 */
export function survivalOf(
  domains: readonly FailureDomain[],
  replicas: number,
): Spread & { readonly peers: number } {
  const keys = new Map(domains.map((domain) => [domainKey(domain), domain]));
  const distinct = [...keys.values()];
  const taken = Math.min(replicas, distinct.length);
  const all = spreadOf(domains);
  // At worst the copies are on all domains that are no disk or machine of their own, and on the machines
  // that have most.
  const toldHosts = new Set(domains.filter(isTold).map(({ host }) => host));
  const isDisk = (domain: FailureDomain) =>
    isTold(domain) ||
    (domain.disk === DOMAIN_UNKNOWN &&
      domain.host !== DOMAIN_UNKNOWN &&
      !toldHosts.has(domain.host));
  const disks = taken - distinct.filter((domain) => !isDisk(domain)).length;
  const isLoose = ({ host, disk }: FailureDomain) =>
    host === DOMAIN_UNKNOWN || disk.startsWith(DISK_SHARED_PREFIX);
  const sizes = new Map<string, number>();
  for (const domain of distinct)
    if (!isLoose(domain)) sizes.set(domain.host, (sizes.get(domain.host) ?? 0) + 1);
  let left = taken - distinct.filter(isLoose).length;
  let machines = 0;
  for (const size of [...sizes.values()].toSorted((a, b) => b - a)) {
    if (left <= 0) break;
    left -= size;
    machines += 1;
  }
  return {
    peers: atLeastZero(Math.min(replicas, domains.length) - 1),
    disks: atLeastZero(disks - 1),
    machines: atLeastZero(Math.min(machines, all.machines) - 1),
  };
}

/** The loss that a swarm of members on these domains survives, as a sentence. */
export function describeSurvival(domains: readonly FailureDomain[], replicas: number): string {
  const { disks, machines } = spreadOf(domains);
  const survives = survivalOf(domains, replicas);
  const where = [
    plural(domains.length, 'peer'),
    disks === 0 ? 'no disk (memory only)' : plural(disks, 'disk'),
    plural(machines, 'machine'),
  ].join(', ');
  const can = [
    survives.peers > 0 ? plural(survives.peers, 'peer') : '',
    survives.disks > 0 ? plural(survives.disks, 'disk') : '',
    survives.machines > 0 ? plural(survives.machines, 'machine') : '',
  ].filter((part) => part !== '');
  const not = [
    survives.peers > 0 ? '' : 'a peer',
    survives.disks > 0 ? '' : disks === 0 ? 'power' : 'a disk',
    survives.machines > 0 ? '' : 'a machine',
  ].filter((part) => part !== '');
  const file = `a file that asks for ${replicas === 1 ? '1 copy' : `${replicas} copies`}`;
  if (can.length === 0) return `${where}: ${file} does not survive the loss of ${or(not)}`;
  const but = not.length === 0 ? '' : `, not of ${or(not)}`;
  return `${where}: ${file} survives the loss of any ${or(can)}${but}`;
}

const isTold = ({ host, disk }: FailureDomain) =>
  disk.startsWith(DISK_SHARED_PREFIX) ||
  (disk !== DISK_MEMORY && disk !== DOMAIN_UNKNOWN && host !== DOMAIN_UNKNOWN);
const atLeastZero = (value: number) => Math.max(0, value);
const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`;
const or = (parts: readonly string[]) =>
  parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} or ${parts.at(-1)}`;
