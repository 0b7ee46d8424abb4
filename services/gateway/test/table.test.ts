import { describe, expect, it } from '@jest/globals';
import { chunkerRoutes, discoveryRoutes, storageRoutes, transferRoutes } from '@shoal/protocol';
import { publicRows, TABLE } from '../src/table.ts';

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
      ]),
    );
  });

  it('has no row for a route that peers or own services call', () => {
    const closed = [chunkerRoutes, transferRoutes, discoveryRoutes, storageRoutes]
      .flatMap((routes) => Object.values(routes))
      .filter(({ audience }) => audience !== 'public');
    expect(closed.length).toBeGreaterThan(10);
    for (const { method, path } of closed)
      expect(TABLE.filter((row) => row.path === path && row.methods.includes(method))).toEqual([]);
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
