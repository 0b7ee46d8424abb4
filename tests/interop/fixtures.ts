/** Fixture CARs, put into a swarm as the conformance suites do it. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ImportReply } from '@shoal/protocol';
import type { RunningPeer } from '@shoal/testkit';
import { AUTHORIZATION } from './rig.ts';

const FOLDER = join(import.meta.dirname, '..', 'fixtures', 'gateway');

/** Files of `tests/fixtures/gateway`, with their roots. */
export const CARS = {
  sharded: {
    file: 'trustless_gateway_car_single-layer-hamt-with-multi-block-files.car',
    root: 'bafybeidbclfqleg2uojchspzd4bob56dqetqjsj27gy2cq3klkkgxtpn4i',
  },
  folders: {
    file: 'trustless_gateway_car_subdir-with-mixed-block-files.car',
    root: 'bafybeidh6k2vzukelqtrjsmd4p52cpmltd2ufqrdtdg6yigi73in672fwu',
  },
} as const;

/** Imports one through a peer's gateway. */
export async function importFixture(
  peer: RunningPeer,
  { file, root }: { readonly file: string; readonly root: string },
): Promise<{ readonly root: string; readonly path: string }> {
  const path = join(FOLDER, file);
  const reply = await importCar(peer, await readFile(path));
  assert.deepEqual(
    reply.pinned.map(({ cid }) => String(cid)),
    [root],
  );
  return { root, path };
}

/** `POST /ipfs` with a CAR, and its answer. */
export async function importCar(peer: RunningPeer, car: Uint8Array): Promise<ImportReply> {
  const response = await fetch(`${peer.gateway}/ipfs?replicas=1&copies=1`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.ipld.car', ...AUTHORIZATION },
    body: Buffer.from(car),
  });
  const text = await response.text();
  assert.equal(response.status, 201, text);
  return ImportReply.parse(JSON.parse(text));
}
