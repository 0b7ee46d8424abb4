import { describe, expect, it } from '@jest/globals';
import { createWindow } from '../../src/answer/window.ts';

const BLOCKS = { budgetBlocks: 24, windowMaxBlocks: 10 };
const FAST_MS = 1;
const SLOW_MS = 60;

describe('the window of a download', () => {
  it('stays small while blocks come at once', () => {
    const window = createWindow(BLOCKS, () => 1);
    for (let i = 0; i < 50; i += 1) window.noteTook(FAST_MS);
    expect(window.windowBlocks()).toBe(4);
  });

  it('widens when they come slowly, up to its bound', () => {
    const window = createWindow(BLOCKS, () => 1);
    window.noteTook(SLOW_MS);
    expect(window.windowBlocks()).toBe(5);
    for (let i = 0; i < 20; i += 1) window.noteTook(SLOW_MS);
    expect(window.windowBlocks()).toBe(10);
  });

  it('shares one budget with the other downloads, and asks ahead for none when there are more of them', () => {
    let sharers = 8;
    const window = createWindow(BLOCKS, () => sharers);
    expect(window.windowBlocks()).toBe(3);
    sharers = 24;
    expect(window.windowBlocks()).toBe(1);
    sharers = 25;
    expect(window.windowBlocks()).toBe(0);
  });
});
