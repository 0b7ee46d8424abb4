export function consentOf(about: {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
  readonly isTerminal: boolean;
}): 'given' | 'ask' | 'missing';

export function isYes(answer: string): boolean;

export function withoutYes(args: readonly string[]): string[];
