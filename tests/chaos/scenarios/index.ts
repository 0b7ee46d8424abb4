/** All scenarios. Those that share a stage stand together, since a stage is opened once for a row of them. */
import type { Scenario } from '../rig.ts';
import { killAnyTwo } from './r01-kill-any-two.ts';
import { resumeElsewhere } from './r02-resume-elsewhere.ts';
import { destroyAnyTwo } from './r03-destroy-any-two.ts';
import { copiesRestored } from './r04-copies-restored.ts';
import { rebootCopiesNothing } from './r05-reboot-copies-nothing.ts';
import { powerCut } from './r06-power-cut.ts';
import { bitRot } from './r07-bit-rot.ts';
import { lyingPeers } from './r08-lying-peers.ts';
import { partition } from './r10-partition.ts';
import { clockSkew } from './r11-clock-skew.ts';
import { diskFull } from './r12-disk-full.ts';
import { redisAndServices } from './r13-redis-and-services.ts';
import { churn } from './r15-churn.ts';
import { drain } from './r16-drain.ts';
import { sweepSafety } from './r17-sweep.ts';
import { truth } from './r21-truth.ts';
import { liars } from './r22-liars.ts';
import { manyPeers } from './r30-thirty-peers.ts';

export const SCENARIOS: readonly Scenario[] = [
  killAnyTwo,
  resumeElsewhere,
  rebootCopiesNothing,
  powerCut,
  bitRot,
  lyingPeers,
  redisAndServices,
  destroyAnyTwo,
  copiesRestored,
  churn,
  drain,
  sweepSafety,
  truth,
  liars,
  partition,
  clockSkew,
  diskFull,
  manyPeers,
];
