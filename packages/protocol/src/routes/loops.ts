/** The background work of a peer, as each of its services lists it: see chassis/process/loops.ts. */
import * as z from 'zod';
import { TimeMs } from '../bounded.ts';
import { type Service, SERVICES } from '../member.ts';
import { route } from '../route.ts';

/** Loops of one service: a dozen are the most that one has. Past it: an assertion fails at the start. */
export const LOOPS_MAX = 64;
/** Name of an error in that list. Past it: it is cut. */
export const LOOP_ERROR_MAX_CHARS = 300;

const none = z.object({});

/** One loop of background work. */
export const LoopReport = z.object({
  name: z.string().max(64),
  /** Pause between two runs at present; absent for work that only runs when it is needed. */
  everyMs: z.number().nonnegative().optional(),
  /** Whether it runs at this moment. */
  isRunning: z.boolean(),
  /** Runs that ended since the service started. */
  runs: z.int().nonnegative(),
  /** When the last run began; absent before the first. */
  lastRunAtMs: TimeMs.optional(),
  /** How long the last run that ended took. */
  tookMs: z.number().nonnegative().optional(),
  /** The last failure since the service started, whether or not a later run succeeded. */
  lastError: z.object({ atMs: TimeMs, what: z.string().max(LOOP_ERROR_MAX_CHARS) }).optional(),
});
export type LoopReport = z.infer<typeof LoopReport>;

/** The loops of one service of a peer; none, and `isSilent`, when it did not answer. */
export const ServiceLoops = z.object({
  service: z.enum(SERVICES),
  isSilent: z.boolean(),
  loops: z.array(LoopReport).max(LOOPS_MAX),
});
export type ServiceLoops = z.infer<typeof ServiceLoops>;

const loopsOf = (service: Service) =>
  route({
    service,
    audience: 'local',
    method: 'GET',
    path: '/loops',
    summary:
      'The background loops of this service: how often each runs, and how its last run went.',
    params: none,
    query: none,
    body: undefined,
    reply: z.object({ loops: z.array(LoopReport).max(LOOPS_MAX) }),
  });

/** Every service answers for its own loops; `GET /upkeep` gathers them. */
export const loopRoutes = {
  gateway: loopsOf('gateway'),
  chunker: loopsOf('chunker'),
  storage: loopsOf('storage'),
  transfer: loopsOf('transfer'),
  discovery: loopsOf('discovery'),
} as const satisfies Readonly<Record<Service, unknown>>;
