/**
 * Whether the swarm tells the truth: each number of copies that a peer says, in lists, in health and in its
 * metrics, which the alerts read, against what the disks held at its date, in both directions.
 *
 * The disks are looked at all the time, and every peer that is up is asked once a second; what it said is
 * judged once the looks reach past it. The rules are in truth-rules.ts.
 */
import { discoveryRoutes, type FileEntry } from '@shoal/protocol';
import { health, listFiles, type RunningPeer } from '@shoal/testkit';
import { request } from 'undici';
import { chunkDigestsOf } from './disks.ts';
import { createLooker, type Look } from './looks.ts';
import { type KnownFile, nameOf } from './model.ts';
import { pass, type Rig } from './rig.ts';
import { isUp } from './stage.ts';
import {
  faultsOf,
  faultsOfSurvey,
  type Said,
  SLACK_MS,
  type SurveyFile,
  type SurveySaid,
} from './truth-rules.ts';

const ASK_EVERY_MS = 1000;
const LOOK_EVERY_MS = 400;
/** Looks kept: past what most answers are dated back to. */
const LOOKS_MAX = 1000;
/** A busy machine takes seconds for a look: what was said waits this long for it. */
const JUDGED_AFTER_MS = SLACK_MS * 2;
/** Files whose health is asked for in a round; the list has them all. */
const HEALTH_PER_ROUND = 5;
/** Of all samples, the share that must have been judged for the rest to prove anything. */
const JUDGED_SHARE_MIN = 0.2;

type Ledger = Rig['ledger'];
interface Waiting {
  readonly dueMs: number;
  judge(): void;
}

/** Watches all acknowledged files at these peers, by default at all, while they are up, until stopped. */
export function watchTruth(
  rig: Rig,
  peers: readonly RunningPeer[] = rig.stage.peers,
): { stop(): Promise<void> } {
  const { stage, ledger, model } = rig;
  const stopping = new AbortController();
  const signal = AbortSignal.any([rig.signal, stopping.signal]);
  const look = createLooker(stage.peers);
  const looks: Look[] = [];
  const waiting: Waiting[] = [];
  const digests = createDigests();
  const surveys = new Map<string, number>();

  const takeLook = async (): Promise<void> => {
    looks.push(await look());
    if (looks.length > LOOKS_MAX) looks.shift();
  };
  const keepLooking = async (): Promise<void> => {
    while (!signal.aborted) {
      await takeLook();
      await pass(LOOK_EVERY_MS, { signal }).catch(() => undefined); // stopped: the loop's end
    }
  };
  /** Each by itself: one that stands still holds up no other. */
  const keepAsking = async (peer: RunningPeer): Promise<void> => {
    for (let round = 0; !signal.aborted; round += 1) {
      if (isUp(peer)) await askPeer(peer, round);
      judge(Date.now());
      await pass(ASK_EVERY_MS, { signal }).catch(() => undefined); // stopped: the loop's end
    }
  };
  const askPeer = async (peer: RunningPeer, round: number): Promise<void> => {
    const files = model.live();
    const some = new Set(
      Array.from({ length: HEALTH_PER_ROUND }, (_, index) =>
        files.at((round * HEALTH_PER_ROUND + index) % files.length),
      ),
    );
    try {
      await note('list', peer, () => listFiles(peer.discovery));
      for (const file of some)
        if (file !== undefined)
          await note('health', peer, async () => [await health(peer.discovery, file.cid)]);
      await noteSurvey(peer);
    } catch {
      ledger.tried('peers that went, or were not ready, while they were asked');
    }
  };
  const note = async (
    kind: string,
    peer: RunningPeer,
    ask: () => Promise<readonly FileEntry[]>,
  ): Promise<void> => {
    const askedMs = Date.now();
    const entries = await ask();
    const answeredMs = Date.now();
    const files = new Map<string, KnownFile>(model.live().map((file) => [file.cid, file]));
    const { peerId } = peer;
    const by = `${kind} of ${nameOf(peer)}`;
    const said = entries.flatMap((entry) => {
      const file = files.get(entry.cid);
      return file === undefined ? [] : [{ file, said: { peerId, entry, askedMs, answeredMs } }];
    });
    waiting.push({
      dueMs: answeredMs + JUDGED_AFTER_MS,
      judge() {
        for (const { file, said: each } of said)
          judgeEntry(ledger, by, file, { said: each, digests: digests.of(file), looks });
      },
    });
  };
  const noteSurvey = async (peer: RunningPeer): Promise<void> => {
    const said = await readSurvey(peer);
    if (said.surveyedMs === 0 || surveys.get(peer.peerId) === said.surveyedMs) return;
    surveys.set(peer.peerId, said.surveyedMs);
    const listed = await listFiles(peer.discovery);
    const blocks = new Map<string, number>(listed.map((file) => [file.cid, file.blocks]));
    waiting.push({
      dueMs: said.seenMs + JUDGED_AFTER_MS,
      judge() {
        const known = new Map(model.live().map((file) => [file.cid, file]));
        // What was uploaded, and not acknowledged, is listed too, and lies nobody knows where.
        const others = listed.filter(({ cid }) => !known.has(cid));
        const all: SurveyFile[] = [
          ...[...known.values()].map((file) => ({
            ...file,
            blocks: blocks.get(file.cid) ?? Infinity,
            digests: digests.of(file),
          })),
          ...others.map((file) => ({ ...file, digests: undefined })),
        ];
        judgeSurvey(ledger, peer, said, all, looks);
      },
    });
  };
  const judge = (nowMs: number): void => {
    for (let next = waiting[0]; next !== undefined && next.dueMs <= nowMs; next = waiting[0]) {
      waiting.shift();
      next.judge();
    }
  };
  const watching = (async () => {
    await takeLook();
    await Promise.all([keepLooking(), ...peers.map(keepAsking)]);
    for (const endMs = Date.now() + SLACK_MS; Date.now() <= endMs;) await takeLook();
    judge(Infinity);
    const judged = ledger.trials.get('truth samples') ?? 0;
    if (judged < JUDGED_SHARE_MIN * (judged + (ledger.trials.get('samples not judged') ?? 0)))
      ledger.doubt(`too few samples could be judged: ${looks.length} looks at the disks`);
  })();
  watching.catch(() => undefined); // it is told by stop()
  return {
    async stop() {
      stopping.abort();
      await watching;
    },
  };
}

function judgeEntry(
  ledger: Ledger,
  by: string,
  file: KnownFile,
  {
    said,
    digests,
    looks,
  }: {
    readonly said: Said;
    readonly digests: readonly string[] | undefined;
    readonly looks: readonly Look[];
  },
): void {
  if (digests === undefined) return; // nothing of it has a file of its own, or that is not known yet
  const faults = faultsOf(said, digests, looks);
  if (faults === undefined) return ledger.tried('samples not judged');
  const { state, copies, replicas, causes } = said.entry;
  ledger.tried('truth samples');
  ledger.tried(`said ${state}`);
  if (faults.length === 0) return;
  const what = `${file.name} is ${state} ${copies}/${replicas} ${JSON.stringify(causes)}`;
  ledger.blame('broken', `${by}: ${what}: ${faults.join('; ')}`);
}

function judgeSurvey(
  ledger: Ledger,
  peer: RunningPeer,
  said: SurveySaid,
  all: readonly SurveyFile[],
  looks: readonly Look[],
): void {
  const faults = faultsOfSurvey(said, all, looks);
  if (faults === undefined) return ledger.tried('surveys not judged');
  ledger.tried('surveys');
  if (faults.length > 0) ledger.blame('broken', `metrics of ${nameOf(peer)}: ${faults.join('; ')}`);
}

/** The state of each member as a peer lists it. */
export async function statesAt({ discovery }: RunningPeer): Promise<ReadonlyMap<string, string>> {
  const { body } = await request(`${discovery}${discoveryRoutes.listPeers.path}`);
  const { peers } = discoveryRoutes.listPeers.reply.parse(await body.json());
  return new Map(peers.map(({ peerId, state }) => [peerId, state]));
}

/** Digests of files, worked out once each; undefined until then, and for a file without large blocks. */
function createDigests() {
  const known = new Map<string, readonly string[]>();
  return {
    of(file: KnownFile): readonly string[] | undefined {
      const digests = known.get(file.cid);
      if (digests === undefined) {
        known.set(file.cid, []);
        void chunkDigestsOf(file).then((found) => known.set(file.cid, found));
      }
      return digests === undefined || digests.length === 0 ? undefined : digests;
    },
  };
}

const METRIC =
  /^shoal_discovery_(?<name>[a-z_]+)(?:\{(?:.*,)?state="(?<state>[^"]+)".*\}|\{.*\})? (?<value>\S+)$/;

async function readSurvey({ discovery }: RunningPeer): Promise<SurveySaid> {
  const { body } = await request(`${discovery}/metrics`);
  const text = await body.text();
  const seenMs = Date.now();
  const files: Record<string, number> = {};
  let belowTargetBytes = 0;
  let surveyedMs = 0;
  for (const line of text.split('\n')) {
    const { name, state, value } = METRIC.exec(line)?.groups ?? {};
    if (name === 'files' && state !== undefined) files[state] = Number(value);
    if (name === 'below_target_bytes') belowTargetBytes = Number(value);
    if (name === 'files_surveyed_timestamp_seconds') surveyedMs = Number(value) * 1000;
  }
  return { files, belowTargetBytes, surveyedMs, seenMs };
}
