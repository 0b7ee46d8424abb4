import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { readSwarmKeys } from '@shoal/chassis/config';
import { replaceFile } from '@shoal/chassis/durable-files';
import { defineCommand } from '../../command.ts';
import { CommandFailure, UsageError } from '../../failure.ts';
import { defaultDataDir } from '../../launch/data-dir.ts';
import { readHexKey } from '../../launch/swarm-key.ts';
import { readPath } from '../../options.ts';

/** Turns the swarm key, of a swarm that knows its members by that. */
export const key = defineCommand({
  usage: `shoal key take [KEY]           replace the swarm key without a stop, step 1: take another one too, made now on
                               the first machine, given (64 hex digits) on the others
shoal key swap                 step 2: show the other one
shoal key drop                 step 3: forget the one that is not shown
                               do each step on every machine, start its peers again, and see all of them up
                               (shoal peers) before the next
  --key-file F       the swarm key (default: SWARM_KEY_FILE, else D/swarm.key)
  --data-dir D       what the peer or the swarm was given as its own (default: ~/.local/share/shoal)`,
  options: { 'key-file': { type: 'string' }, 'data-dir': { type: 'string' } },
  takesWords: true,
  async run({ values, words, context }) {
    const folder = values['data-dir'];
    const mounted = folder === undefined ? context.env['SWARM_KEY_FILE'] : undefined;
    const given = values['key-file'] ?? mounted;
    const file = readPath(given ?? join(folder ?? defaultDataDir(context), 'swarm.key'), context);
    const step = stepOf(words);
    const known = readSwarmKeys(file).map(hexOf);
    const next = step(known);
    replaceFile(file, `${next.join('\n')}\n`, 0o600);
    const added = next.find((each) => !known.includes(each));
    if (added !== undefined) context.out(`${added}\n`);
    context.err(`${file}: ${next.length === 1 ? 'one key is taken' : 'two keys are taken'}\n`);
    return 0;
  },
});

type Keys = readonly string[];

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The step that a word names: from the keys in the file to those after it. @throws UsageError for another word */
function stepOf([verb, given, ...rest]: readonly string[]): (keys: Keys) => Keys {
  if (rest.length > 0 || (verb !== 'take' && given !== undefined))
    throw new UsageError(`unexpected argument "${rest[0] ?? given}"`);
  if (verb === 'take') return (keys) => take(keys, given);
  if (verb === 'swap') return (keys) => twoOf(keys).toReversed();
  if (verb === 'drop') return (keys) => twoOf(keys).slice(0, 1);
  throw new UsageError('say take, swap or drop');
}

function take(keys: Keys, given: string | undefined): Keys {
  const next = given === undefined ? hexOf(randomBytes(32)) : hexOf(readHexKey(given));
  if (keys.length > 1) throw new CommandFailure('two keys are taken already: go on with swap');
  if (keys.includes(next)) throw new CommandFailure('that is the key that it has now');
  return [...keys, next];
}

function twoOf(keys: Keys): Keys {
  if (keys.length === 2) return keys;
  throw new CommandFailure('one key is taken: the first step is shoal key take');
}
