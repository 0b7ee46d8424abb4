/** Lines of `shoal log`: nothing in an event may look like another one, or like an order to the terminal. */
import { describe, expect, it } from '@jest/globals';
import type { PeerAuditEvent } from '@shoal/protocol';
import { describeEvent } from '../src/commands/peers/log.ts';
import { printable } from '../src/terminal/printable.ts';

const event = (more: Partial<PeerAuditEvent>): PeerAuditEvent => ({
  service: 'discovery',
  seq: 1,
  atMs: Date.parse('2026-11-30T12:00:00Z'),
  kind: 'file-deleted',
  ...more,
});

describe('an event', () => {
  it('is one line, with all that is known of it', () => {
    const by = '12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5';
    const line = describeEvent(
      event({ kind: 'member-removed', subject: by, by, name: 'nas', detail: 'stolen', count: 3 }),
    );
    expect(line).toMatch(
      / {2}member-removed {5}"nas" {2}12D3KooW\w+ {2}stolen {2}by …oaMtimQ5 {2}3 times\n$/,
    );
  });

  it('stays one, whatever others called things', () => {
    const evil = 'x"\n2026-11-30 12:00  file-undeleted\t\u001b[2K\r\u202e';
    for (const field of ['name', 'detail', 'subject', 'address', 'token', 'by', 'kind'] as const) {
      const text = printable(describeEvent(event({ [field]: evil })));
      expect([field, text.split('\n').length, text.includes('\t')]).toEqual([field, 2, false]);
      expect(text).not.toContain('\u001b');
      expect(text).not.toContain('\u202e');
    }
  });
});
