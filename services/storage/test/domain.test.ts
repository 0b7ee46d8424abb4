/** Disks as Linux tells of them, in a tree of the test's own. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readDisk, readDomain } from '../src/disk/domain.ts';

const MOUNTS = `
21 1 8:1 / / rw - ext4 /dev/sda1 rw
22 1 8:2 / /home rw - xfs /dev/sda2 rw
23 1 0:40 /@a /vol-a rw - btrfs /dev/sdb1 rw
24 1 0:41 /@b /vol-b rw - btrfs /dev/sdb1 rw
25 1 0:23 / /dev/shm rw - tmpfs tmpfs rw
26 1 0:50 / /share rw - nfs4 nas:/export rw
27 1 0:60 / / rw - overlay overlay rw
28 1 252:0 / /lv-a rw - ext4 /dev/mapper/vg-a rw
29 1 252:1 / /lv-b rw - ext4 /dev/mapper/vg-b rw
30 1 252:2 / /secret rw - ext4 /dev/mapper/crypt rw
31 1 7:0 / /loop rw - ext4 /dev/loop0 rw
32 1 253:0 / /zram rw - ext4 /dev/zram0 rw
33 1 0:70 / /pool rw - zfs tank/peer-1 rw
34 1 9:0 / /raid rw - ext4 /dev/md0 rw
`;
/** Device of each folder, and of each device node. */
const DEVICES: Readonly<Record<string, string>> = {
  '/': '8:1',
  '/home': '8:2',
  '/vol-a': '0:40',
  '/vol-b': '0:41',
  '/dev/shm': '0:23',
  '/share': '0:50',
  '/container': '0:60',
  '/lv-a': '252:0',
  '/lv-b': '252:1',
  '/secret': '252:2',
  '/loop': '7:0',
  '/images/loop.img': '8:2',
  '/zram': '253:0',
  '/pool': '0:70',
  '/raid': '9:0',
  '/nowhere': '0:99',
  '/dev/sdb1': '8:17',
};
const VG = 'x'.repeat(32);
/** Files below /sys; the folder of a partition is in that of its disk. */
const SYS: Readonly<Record<string, string>> = {
  'devices/sda/sda1/partition': '1',
  'devices/sda/sda2/partition': '2',
  'devices/sdb/sdb1/partition': '1',
  'devices/sdc/size': '1',
  'devices/dm-0/dm/uuid': `LVM-${VG}${'a'.repeat(32)}`,
  'devices/dm-0/slaves/sda1/dev': '8:1',
  'devices/dm-0/slaves/sdc/dev': '8:32',
  'devices/dm-1/dm/uuid': `LVM-${VG}${'b'.repeat(32)}`,
  'devices/dm-1/slaves/sdb1/dev': '8:17',
  'devices/dm-1/slaves/sdc/dev': '8:32',
  'devices/dm-2/dm/uuid': 'CRYPT-LUKS2-1',
  'devices/dm-2/slaves/sda2/dev': '8:2',
  'devices/loop0/loop/backing_file': '/images/loop.img',
  'devices/zram0/size': '1',
  'devices/md0/slaves/sda1/dev': '8:1',
  'devices/md0/slaves/sdb1/dev': '8:17',
};
const BLOCK: Readonly<Record<string, string>> = {
  '8:1': 'sda/sda1',
  '8:2': 'sda/sda2',
  '8:17': 'sdb/sdb1',
  '8:32': 'sdc',
  '252:0': 'dm-0',
  '252:1': 'dm-1',
  '252:2': 'dm-2',
  '7:0': 'loop0',
  '253:0': 'zram0',
  '9:0': 'md0',
};

describe('the disk under a folder', () => {
  let root = '';
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'shoal-domain-'));
    const put = (path: string, text: string) => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), `${text}\n`);
    };
    put('mountinfo', MOUNTS);
    for (const [path, text] of Object.entries(SYS)) put(`sys/${path}`, text);
    mkdirSync(join(root, 'sys/dev/block'), { recursive: true });
    for (const [device, path] of Object.entries(BLOCK))
      symlinkSync(join(root, 'sys/devices', path), join(root, 'sys/dev/block', device));
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  const disk = (folder: string) => {
    const deviceOf = (path: string) => {
      const device = DEVICES[path];
      if (device === undefined) throw new Error(`no ${path}`);
      return device;
    };
    const system = { mountInfo: join(root, 'mountinfo'), sys: join(root, 'sys') };
    return readDisk(folder, { ...system, deviceOf, nodeOf: deviceOf });
  };

  it.each([
    ['/', 'sda'],
    ['/home', 'sda'], // another partition
    ['/vol-a', 'sdb'], // subvolumes: a number each, one disk
    ['/vol-b', 'sdb'],
    ['/dev/shm', 'memory'],
    ['/zram', 'memory'],
    ['/share', 'net:nas:/export'],
    ['/container', 'unknown'],
    ['/nowhere', 'unknown'],
    ['/not there', 'unknown'],
    ['/lv-a', `lvm:${VG}`], // volumes over several disks, one of which they share
    ['/lv-b', `lvm:${VG}`],
    ['/secret', 'sda'],
    ['/loop', 'sda'],
    ['/pool', 'zfs:tank'],
    ['/raid', 'md0'],
  ])('of %s is %s', (folder, name) => {
    expect(disk(folder)).toBe(name);
  });

  it('of this machine is told too, by a name that fits into a record', () => {
    const { host, disk: here } = readDomain(tmpdir());
    expect(host).not.toBe('');
    expect(here.length).toBeLessThanOrEqual(64);
    expect(readDomain(tmpdir()).disk).toBe(here);
  });
});
