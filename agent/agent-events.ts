/** What an agent's state is told, and what it asks for in answer: the words of attempt.ts. */

import type { AttemptKey, AttemptResult } from '../protocol/call.ts'
import type {
  AgentMessage,
  Assignment,
  CoordinatorOrder,
  Preparation,
  PullOrder,
  Verdict,
} from '../protocol/messages.ts'
import type { Room } from './slots.ts'

/** Why an attempt is ended before its time: `disk`: it filled the disk. */
type StopReason = 'cancel' | 'leaving' | 'disk'

export type AgentEvent =
  /** Its epoch, where it is a higher one, is remembered by then: a crash must not forget it. */
  | { type: 'welcomed'; session: number; epoch: number; verdicts: readonly Verdict[] }
  | { type: 'disconnected' }
  /** `unfit`: why this agent can run none of this kind now; '' where it can. */
  | { type: 'order'; order: CoordinatorOrder; unfit: string }
  /** Its image is to be pulled, with credentials. */
  | { type: 'wantAuth'; key: AttemptKey }
  | { type: 'started'; key: AttemptKey }
  /** Null: it was cancelled before it had a result. */
  | { type: 'ended'; key: AttemptKey; result: AttemptResult | null }
  | { type: 'written'; key: AttemptKey }
  | { type: 'removed'; key: AttemptKey }
  | { type: 'drain'; draining: boolean }
  /** The disk is nearly full, and it is this one that filled it. */
  | { type: 'overfilled'; key: AttemptKey }
  /** The host is another size than was thought. */
  | { type: 'resized'; room: Room }
  /** The time to drain is over: what runs is stopped and handed back. */
  | { type: 'leave' }

export type AgentEffect =
  | { type: 'run'; assignment: Assignment }
  | { type: 'stop'; key: AttemptKey; reason: StopReason }
  | { type: 'write'; key: AttemptKey; result: AttemptResult }
  /** Send the result, which was or is being written. */
  | { type: 'report'; key: AttemptKey; session: number }
  /** `isBusy`: its process may still run, so that there is no time to wait. */
  | { type: 'remove'; key: AttemptKey; isBusy: boolean }
  | { type: 'delete'; key: AttemptKey }
  | { type: 'send'; message: Exclude<AgentMessage, { type: 'hello' }> }
  | { type: 'prepare'; preparation: Preparation }
  | { type: 'pull'; order: PullOrder }
  | { type: 'cancelPull'; pull: number }
  /** They came for the pull of this attempt. */
  | { type: 'giveAuth'; key: AttemptKey; auth: string }
  | { type: 'disconnect' }
