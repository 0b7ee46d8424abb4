/**
 * The failure domain of a folder, all of which one accident may take: the boot of the host, and the disk.
 *
 * The device number of a file system is not it: two partitions of a disk have two, so have two
 * subvolumes, and memory has one without being a disk. So the device is followed down to what a person
 * would pull out: from a file system to its block device (by the mount, where the number is anonymous),
 * from a partition to its disk, from a mapped device or a loop to what is below. A device that can't be followed
 * is "unknown", which counts as no disk of its own.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import {
  DISK_MEMORY,
  DISK_SHARED_PREFIX,
  DOMAIN_UNKNOWN,
  type FailureDomain,
} from '@shoal/protocol';

/** Layers of mapped devices and loops that are followed; real ones have two or three. */
const LAYERS_MAX = 8;
const NAME_MAX_CHARS = 64;
const MEMORY_TYPES = new Set(['tmpfs', 'ramfs', 'devtmpfs']);
const SHARED_TYPES = /^(nfs\d?|cifs|smb3?|ceph|fuse\.(sshfs|glusterfs|ceph-fuse|s3fs))$/;

/** Where the kernel tells of devices and mounts; another tree in tests. */
export interface SystemPaths {
  readonly mountInfo: string;
  readonly sys: string;
  /** Device number of a file or of a device node, as `major:minor`. */
  readonly deviceOf: (path: string) => string;
  readonly nodeOf: (path: string) => string;
}

const LINUX: SystemPaths = {
  mountInfo: '/proc/self/mountinfo',
  sys: '/sys',
  deviceOf: (path) => deviceName(statSync(path).dev),
  nodeOf: (path) => deviceName(statSync(path).rdev),
};

export function readDomain(dir: string): FailureDomain {
  return { host: readHost(), disk: readDisk(dir) };
}

/** The disk under a folder, by a name that is the same for every folder on it. */
export function readDisk(dir: string, system: SystemPaths = LINUX): string {
  try {
    return named(diskUnder(dir, system, 0));
  } catch {
    return DOMAIN_UNKNOWN; // not Linux, or a sandbox that hides its devices
  }
}

function diskUnder(path: string, system: SystemPaths, layer: number): string {
  if (layer > LAYERS_MAX) return DOMAIN_UNKNOWN;
  const device = system.deviceOf(path);
  const mount = readMounts(system.mountInfo).findLast((each) => each.device === device);
  if (mount !== undefined && MEMORY_TYPES.has(mount.type)) return DISK_MEMORY;
  if (mount !== undefined && SHARED_TYPES.test(mount.type))
    return `${DISK_SHARED_PREFIX}${mount.source}`;
  if (mount?.type === 'zfs') return `zfs:${mount.source.split('/')[0]}`;
  if (!device.startsWith('0:')) return diskOf(device, system, layer);
  // An anonymous number: a subvolume, say. Its mount names the device.
  if (mount?.source.startsWith('/dev/') !== true) return DOMAIN_UNKNOWN;
  return diskOf(system.nodeOf(mount.source), system, layer);
}

/** The whole disk behind a block device. */
function diskOf(device: string, system: SystemPaths, layer: number): string {
  if (layer > LAYERS_MAX) return DOMAIN_UNKNOWN;
  const folder = realpathSync(join(system.sys, 'dev', 'block', device));
  // A partition's folder is in that of its disk.
  const disk = isFile(join(folder, 'partition')) ? dirname(folder) : folder;
  const name = basename(disk);
  if (/^(zram|ram)\d/.test(name)) return DISK_MEMORY;
  const backing = readText(join(disk, 'loop', 'backing_file'));
  if (backing !== undefined) return diskUnder(backing, system, layer + 1);
  const below = namesIn(join(disk, 'slaves'));
  // An array survives the loss of a disk, or does not: either way it is one thing.
  if (below.length === 0 || name.startsWith('md')) return name;
  const disks = new Set(
    below.map((each) =>
      diskOf(readText(join(disk, 'slaves', each, 'dev')) ?? '', system, layer + 1),
    ),
  );
  const [only] = disks;
  if (disks.size === 1 && only !== undefined) return only;
  // Volumes over several disks: those of one group may share any of them.
  const group = /^LVM-(.{32})/.exec(readText(join(disk, 'dm', 'uuid')) ?? '')?.[1];
  return group === undefined ? [...disks].toSorted().join('+') : `lvm:${group}`;
}

interface Mount {
  readonly device: string;
  readonly type: string;
  readonly source: string;
}

/** See proc_pid_mountinfo(5): `id parent major:minor root point options … - type source options`. */
function readMounts(path: string): Mount[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const device = left.split(' ')[2];
      const [type, source] = right.split(' ');
      if (device === undefined || type === undefined || source === undefined) return [];
      return [{ device, type, source: source.replaceAll(String.raw`\040`, ' ') }];
    });
}

function readHost(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return hostname().slice(0, NAME_MAX_CHARS); // not Linux: the name must do
  }
}

/** A long name by its hash, with its kind still in front. */
function named(disk: string): string {
  if (disk.length <= NAME_MAX_CHARS) return disk;
  const prefix = disk.startsWith(DISK_SHARED_PREFIX) ? DISK_SHARED_PREFIX : '';
  return prefix + createHash('sha256').update(disk).digest('base64url');
}

/** The numbers of a device as Linux packs them (makedev(3)). */
function deviceName(device: number): string {
  const bits = BigInt(device);
  const major = ((bits >> 8n) & 0xfffn) | ((bits >> 32n) & ~0xfffn);
  const minor = (bits & 0xffn) | ((bits >> 12n) & ~0xffn & 0xffffffffn);
  return `${major}:${minor}`;
}

const readText = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined; // not a device of that kind
  }
};
const isFile = (path: string): boolean => readText(path) !== undefined;
const namesIn = (path: string): string[] => {
  try {
    return readdirSync(path);
  } catch {
    return []; // nothing below
  }
};
