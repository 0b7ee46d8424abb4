import { describe, expect, it } from '@jest/globals';
import { chunkerRoutes, discoveryRoutes, storageRoutes, transferRoutes } from '@shoal/protocol';
import { publicRows, type Row, TABLE } from '../src/proxy/table.ts';

const lines = TABLE.map(
  ({ methods, path, service }) => `${methods.join('|')} ${path} → ${service}`,
);

describe('the table', () => {
  it('leads the public calls to the service that answers them', () => {
    expect(lines).toEqual(
      expect.arrayContaining([
        'POST /files → chunker',
        'PUT /files/:name → chunker',
        'GET|HEAD /files/:hash → transfer',
        'GET|HEAD /files → discovery',
        'GET|HEAD /files/:hash/health → discovery',
        'GET|HEAD /peers → discovery',
        'PATCH /files/:hash → discovery',
        'DELETE /files/:hash → discovery',
        'GET|HEAD /drain → transfer',
        'POST /drain → transfer',
        'DELETE /drain → transfer',
        'GET|HEAD /routing/v1/providers/:cid → discovery',
        'GET|HEAD|OPTIONS /routing/v1/* → discovery',
      ]),
    );
  });

  it('has no row for a route that peers or own services call', () => {
    const closed = [chunkerRoutes, transferRoutes, discoveryRoutes, storageRoutes]
      .flatMap((routes) => Object.values(routes))
      .filter(({ audience }) => audience !== 'public');
    expect(closed.length).toBeGreaterThan(10);
    // A path may be open at one service and closed at another: POST /pins is.
    const isRowOf = (row: Row, { service, method, path }: (typeof closed)[number]) =>
      row.service === service && row.path === path && row.methods.includes(method);
    for (const route of closed) expect(TABLE.filter((row) => isRowOf(row, route))).toEqual([]);
  });

  it('states no method of a path twice', () => {
    const keys = TABLE.flatMap(({ methods, path }) => methods.map((method) => `${method} ${path}`));
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('shows the upkeep of storage, and none of its blocks', () => {
    expect(publicRows(storageRoutes).map(({ path }) => path)).toEqual([
      '/upkeep',
      '/scrub',
      '/sweep',
    ]);
  });
});
