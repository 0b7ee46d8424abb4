/** The process as a command sees it. */
export interface Context {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Folder that relative paths start from: where the person is, also under `npm run`. */
  readonly cwd: string;
  /** How the command line is called here, for lines to be typed as they are: `shoal` unless it says so. */
  readonly program?: string;
  /** Writes results; nothing else goes to stdout. */
  readonly out: (text: string) => void;
  /** Writes what is said beside the result: progress, notes, errors. */
  readonly err: (text: string) => void;
  /** Whether a person watches stderr. */
  readonly isWatched: boolean;
  /** Columns of that terminal now; a person may make it narrower. */
  readonly columns?: () => number | undefined;
  /** Columns of the terminal that results go to; undefined when they go elsewhere. */
  readonly resultColumns?: () => number | undefined;
  /** A token signed with the person's own key, for a peer that wants one; undefined where it is no owner's. */
  readonly ownerToken?: (
    peerUrl: string,
    stop: { readonly signal: AbortSignal },
  ) => Promise<string | undefined>;
  /** From now on a reader of stdout that leaves does not end the command. */
  readonly outliveReaders?: () => void;
}
