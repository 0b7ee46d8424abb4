/** Whether set-up may change the machine and not only this folder: by sudo, or by a global install. */

const YES = '--yes';

/**
 * `given`; `ask`, where a person is at the terminal; or `missing`, and then the line to type is printed.
 */
export function consentOf({ args, env, isRoot, isTerminal }) {
  // npm keeps an option before "--" for itself.
  const saidYes = args.includes(YES) || env.npm_config_yes === 'true';
  const isCi = !['', '0', 'false', undefined].includes(env.CI?.toLowerCase());
  if (saidYes || isCi || isRoot) return 'given';
  return isTerminal ? 'ask' : 'missing';
}

/**
 * Whether that is a yes; an empty line is none.
 */
export function isYes(answer) {
  return /^y(?:es)?$/i.test(answer.trim());
}

/**
 * The arguments for the program behind set-up.
 */
export function withoutYes(args) {
  return args.filter((arg) => arg !== YES);
}
