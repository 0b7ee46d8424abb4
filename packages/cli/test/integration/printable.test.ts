import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { CLI_MAIN } from '../../src/launch/programs.ts';

const NASTY = 'a\u001b[2J\u0007\u009b1m\u007f\u0000\r\u202eb';

describe('what a peer says', () => {
  it('is never raw in what a command prints: lists, JSON and errors', async () => {
    const answers: Readonly<Record<string, { status: number; type: string; body: unknown }>> = {
      '/peers': {
        status: 503,
        type: 'application/problem+json',
        body: { type: 'x', title: NASTY, status: 503, detail: NASTY },
      },
      '/files': {
        status: 200,
        type: 'application/json',
        body: {
          total: 1,
          files: [
            {
              cid: 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku',
              kind: 'file',
              name: NASTY,
              sizeBytes: 1,
              blocks: 1,
              replicas: 1,
              createdAtMs: 1,
              state: 'safe',
              copies: 1,
            },
          ],
        },
      },
    };
    await using server = createServer((request, response) => {
      const answer = answers[(request.url ?? '').split('?')[0] ?? ''];
      response.writeHead(answer?.status ?? 404, { 'content-type': answer?.type ?? 'text/plain' });
      response.end(JSON.stringify(answer?.body));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const run = async (...words: string[]): Promise<string> => {
      const child = spawn(process.execPath, [CLI_MAIN, ...words], {
        env: { SHOAL_PEER: `http://127.0.0.1:${port}` },
      });
      let text = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (bytes: Buffer) => (text += bytes.toString()));
      await once(child, 'close');
      return text;
    };
    for (const words of [['ls'], ['ls', '--json'], ['peers']]) {
      const text = await run(...words);
      expect(text).toContain('\\u001b[2J');
      // eslint-disable-next-line no-control-regex
      expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/);
    }
  });
});
