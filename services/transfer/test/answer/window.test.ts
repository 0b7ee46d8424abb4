import { describe, expect, it } from '@jest/globals';
import { createWindow } from '../../src/answer/window.ts';

const config = { TRANSFER_WINDOW_BLOCKS: 24, TRANSFER_DOWNLOAD_WINDOW_BLOCKS: 10 };
const slowly = () => new Promise<void>((resolve) => setTimeout(resolve, 60));

describe('the window of a download', () => {
  it('stays small while blocks come at once', async () => {
    const window = createWindow(config);
    for (let i = 0; i < 50; i += 1) await window.timed(async () => undefined);
    expect(window.size(1)).toBe(4);
  });

  it('widens when they come slowly, up to its bound', async () => {
    const window = createWindow(config);
    await window.timed(slowly);
    expect(window.size(1)).toBe(5);
    await Promise.all(Array.from({ length: 20 }, () => window.timed(slowly)));
    expect(window.size(1)).toBe(10);
  });

  it('shares one budget with the other downloads, and asks ahead for none when there are more of them', () => {
    const window = createWindow(config);
    expect(window.size(8)).toBe(3);
    expect(window.size(24)).toBe(1);
    expect(window.size(25)).toBe(0);
  });
});
