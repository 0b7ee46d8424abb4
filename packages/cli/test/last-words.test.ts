import { describe, expect, it } from '@jest/globals';
import { lastWords } from '../src/launch/child/last-words.ts';

const words = (...lines: string[]) => lastWords(lines.join('\n'), { name: 'storage' });
const fatal = (fields: object) => JSON.stringify({ level: 60, ...fields });

describe('the last words of a process', () => {
  it('are the message of the last fatal line', () => {
    expect(
      words(
        fatal({ err: { message: 'of before' }, msg: 'failed to start or stop' }),
        '{"level":30,"msg":"listening"}',
        fatal({ err: { message: 'no room\nfor more', stack: 'Error: no room' }, msg: 'failed' }),
        '{"level":30,"msg":"later"}',
        '',
      ),
    ).toBe('no room');
    expect(words(fatal({ msg: 'out of luck' }))).toBe('out of luck');
    expect(words(fatal({ err: 'none', msg: 'odd' }))).toBe('odd');
  });

  it('are what a service says before it has a log, without its name', () => {
    expect(words('storage: invalid configuration: A: must be b', '')).toBe(
      'invalid configuration: A: must be b',
    );
    expect(words('*** FATAL CONFIG FILE ERROR ***', "Can't chdir to '/x'")).toBe(
      "Can't chdir to '/x'",
    );
  });

  it('are the error that nobody caught, and not its stack', () => {
    expect(
      words(
        '{"level":30,"msg":"listening"}',
        'file:///shoal/main.ts:12',
        '  throw error;',
        '  ^',
        '',
        "Error [ERR_X]: Cannot find package 'x'",
        '    at run (file:///shoal/main.ts:1:2)',
        '}',
        '',
        'Node.js v24.21.0',
      ),
    ).toBe("Cannot find package 'x'");
  });

  it.each([[''], ['{"level":30,"msg":"x"}\n'], ['{"level":60,"msg":'], ['\n\n']])(
    'are none where nothing is said of an end: %j',
    (output) => {
      expect(words(output)).toBe('');
    },
  );
});
