/** Exit codes of the command line, after sysexits.h where it has one. */
export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 64;

/** Something that the person at the terminal can put right: shown as one sentence, without a stack. */
export class CommandFailure extends Error {}

/** The command was written wrongly; the way to write it is shown too. */
export class UsageError extends Error {}
