import { describe, expect, it } from '@jest/globals';
import { FileHealth } from '@shoal/protocol';

/** What the page's words are made of; the page itself has no types. */
interface Words {
  readonly survivalText: (file: object) => string;
  readonly safetyText: (health: object) => string;
  readonly spreadText: (health: object) => string;
  readonly proofText: (health: object) => string;
  readonly holdingText: (holder: object, blocksTotal: number) => string;
}

/** Loads the file as a browser does, with an address of its own. */
async function loadWords(): Promise<Words> {
  Object.assign(globalThis, { location: { href: 'http://peer.test/' } });
  const { href } = new URL('../src/console/words.js', import.meta.url);
  return (await import(href)) as Words;
}

const health = (over: Partial<FileHealth>) => ({
  copies: 3,
  survivesPeers: 2,
  disks: 3,
  machines: 2,
  proved: 2,
  claimed: 3,
  ...over,
});

describe('the words of the console', () => {
  it('say what a file survives as its health counts it, and of a list by its copies', async () => {
    const { survivalText } = await loadWords();
    expect(survivalText({ copies: 3, survivesPeers: 1 })).toBe('survives any 1 peer');
    expect(survivalText({ copies: 3, survivesPeers: 0 })).toBe(
      'would not survive the loss of its peer',
    );
    expect(survivalText({ copies: 3 })).toBe('survives any 2 peers');
    expect(survivalText({ copies: 0, survivesPeers: 0 })).toMatch(/no peer that is up/);
  });

  it('say of health what `shoal stat` says: places, proofs, and who failed', async () => {
    const { safetyText, spreadText, proofText, holdingText } = await loadWords();
    const said = health({});
    expect(safetyText(said) + spreadText(said)).toBe(
      '3 copies, survives any 2 peers, on 3 disks of 2 machines',
    );
    const oneDisk = health({ disks: 1, machines: 1 });
    expect(safetyText(oneDisk) + spreadText(oneDisk)).toMatch(/, all on one disk$/);
    const inMemory = health({ disks: 0, machines: 0 });
    expect(safetyText(inMemory) + spreadText(inMemory)).toMatch(/, in memory only$/);
    expect(proofText(said)).toBe('2 of 3 copies that peers say they hold are proved');
    expect(proofText(health({ proved: 1, claimed: 1 }))).toBe(
      '1 of 1 copy that peers say they hold is proved',
    );
    expect(holdingText({ blocks: 1, proof: 'proved' }, 3)).toBe('1/3 blocks');
    expect(holdingText({ blocks: 3, proof: 'failed' }, 3)).toBe('3/3 blocks, could not prove it');
  });
});
