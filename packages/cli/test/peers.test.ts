import { describe, expect, it } from '@jest/globals';
import { PeerId } from '@shoal/protocol';
import { peersTable } from '../src/commands/peers/peers.ts';

describe('the list of peers', () => {
  it('ends with what a file survives, in the words of the peer that was asked', () => {
    const self = PeerId.parse('12D3KooWGC6KA2TxpgZQGvxgJqP5dnhQkDfEQF5WmsjJ1hLwLEps');
    const reply = { self, machines: 1, disks: 1, summary: 'as the peer says it', peers: [] };
    expect(peersTable(reply)).toMatch(/\n\nas the peer says it\n$/);
    expect(peersTable({ ...reply, summary: '' })).not.toMatch(/\n\n/); // of an older version
  });
});
