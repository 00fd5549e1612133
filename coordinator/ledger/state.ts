/**
 * The ledger's memory and the words of its transitions.
 *
 * The state is changed in place, by step() alone, because a copy of a million calls a transition
 * would cost more than the transition. Times are milliseconds of one clock that counts suspended
 * time; `wall` is for people only and decides nothing.
 */

import type { Advert } from '../../protocol/advert.ts'
import type { AttemptKey, AttemptResult, Outcome } from '../../protocol/call.ts'
import type { ImagePin } from '../../protocol/image.ts'
import type { AgentFacts, CoordinatorOrder, Hello, Verdict } from '../../protocol/messages.ts'
import type { CallEnd, LogEntry } from '../log-cache.ts'
import type { HistoryRow } from '../rows.ts'
import type { Operation } from '../store/store.ts'
import type { Aside } from './aside.ts'
import type { CallIndex } from './call-index.ts'
import type { CallList } from './call-list.ts'
import type { Delay } from './delay.ts'
import type { Exclusion } from './exclusions.ts'
import type { Heap } from './heap.ts'
import type { Line, Turn } from './line.ts'
import type { Queue } from './queue.ts'
import type { Reservation } from './reservations.ts'
import type { Owed } from './results.ts'

/** What one revision of a function asks of queue, placement and retries; shared by its calls. */
export interface Terms {
  readonly accountId: string
  readonly funcId: string
  readonly revision: number
  readonly memoryBytes: number
  readonly maxAttempts: number
  readonly atMostOnce: boolean
  readonly retryOnExit: number
  readonly queueTimeoutMs: number
  /** 0 is no limit. */
  readonly timeoutMs: number
  readonly image: ImagePin
  /** Of the kind of container that it needs. */
  readonly readyKey: string
  /** Those that can have the image; null: all. */
  readonly platforms: readonly string[] | null
  /** An agent can get the image by itself; if not, the call runs where the image is. */
  readonly isAnywhere: boolean
  readonly runtime: string
  readonly constraints: Readonly<Record<string, string>>
}

export interface Grant {
  readonly attempt: number
  readonly epoch: number
  readonly agentId: string
  /** It is counted in attemptsLost. */
  readonly isLost: boolean
}

/**
 * queued   waits in its account's queue
 * aside    out of the queue with a reason: in back-off, or no member could ever run it
 * leased   an attempt was granted and has not said that it started
 * running  an attempt has started
 * ended    has its final state and is in no book any more; what still holds it drops it
 */
export type LiveState = 'queued' | 'aside' | 'leased' | 'running' | 'ended'

/** A million of them wait in memory: what few have is in `delay`. */
export interface Call {
  readonly id: string
  readonly seq: number
  readonly terms: Terms
  /** By the wall clock, for people. */
  readonly acceptedMs: number
  readonly payloadBytes: number
  state: LiveState
  /** A client waits on the call's own request: its output is owed to it, not to the cache. */
  sync: boolean
  /** Every attempt that may still report a result. */
  granted: readonly Grant[]
  lastAttempt: number
  /** Attempts used up: those that started and were lost. */
  attemptsLost: number
  exitRetries: number
  /** What has kept it from running; null for most. */
  delay: Delay | null
}

export interface Lease {
  readonly key: AttemptKey
  readonly agentId: string
  readonly storeId: string
  readonly terms: Pick<Terms, 'accountId' | 'memoryBytes' | 'atMostOnce'>
  grantedMs: number
  renewedMs: number
  lengthMs: number
  /** The call is final; the lease stands until the container is known to be gone. */
  isOver: boolean
  /** Set when an at-most-once attempt fell silent: its agent is waited for. */
  silentSinceMs: number | null
  /** Granted before this coordinator started, and not heard of since. */
  isInherited: boolean
  /** A hello of a copy of its agent's store, or of one that was set back, did not name it: nothing is proven of it. */
  isDoubtful: boolean
}

/** What placement knows of a member; kept from its last hello while it is away. */
export interface Agent {
  readonly id: string
  /** The order in which members became known: the last word between equals. */
  readonly rank: number
  name: string
  /** 0 while it is away. */
  session: number
  hello: AgentFacts
  /** By its own word. */
  draining: boolean
  /** By the operator's, which holds across its sessions. */
  isDrained: boolean
  advert: Advert | null
  images: ReadonlySet<string>
  /** Images that it cannot get (exclusions.ts), the oldest first. */
  readonly excluded: Map<string, Exclusion>
  /** Containers that stand ready, by kind (readiness.ts). */
  readonly ready: Map<string, number>
  slotsUsed: number
  memoryUsedBytes: number
  readonly leases: Set<Lease>
  /** By name: attempts without a lease that it runs nevertheless (grants.ts). */
  readonly heard: Map<string, Call>
  heardMs: number
  /** Since when it has held leases: from then on it beats every second. */
  busySinceMs: number
  /** The call of another's account that what frees here is held for (reservations.ts). */
  reservedFor: Call | null
  /** After a refusal it is offered nothing until then; the pause doubles. */
  pausedUntilMs: number
  pauseMs: number
  /** What the above comes to, brought up to date by room.ts with each change. */
  isOpen: boolean
  slotsFree: number
  memoryFreeBytes: number
  /** Its place among those with room; -1 where it has none. */
  roomyAt: number
}

export interface Account {
  readonly id: string
  quota: number
  leases: number
  /** Calls that are not final, and the bytes of their payloads. */
  live: number
  payloadBytes: number
  /** Those of them that hold no lease. */
  waiting: number
  readonly queue: Queue<Call>
  readonly turn: Turn
}

export interface FuncCounts {
  pending: number
  running: number
  /** Calls of each revision that are not final. */
  readonly revisions: Map<number, number>
  /** All of them. */
  readonly calls: CallList<Call>
}

export interface Ledger {
  readonly epoch: number
  nextSeq: number
  lastTickMs: number
  readonly accounts: Map<string, Account>
  readonly calls: CallIndex<Call>
  readonly leases: Map<string, Lease>
  /** The leases of each agent that has any, also of one that is not known yet. */
  readonly agentLeases: Map<string, Set<Lease>>
  readonly agents: Map<string, Agent>
  nextRank: number
  /** Raised with every change of who is a member and of what its hello says. */
  membership: number
  /** Agents that are open and have a slot and memory left. */
  readonly roomy: Agent[]
  /** By kind of container: who has some ready. */
  readonly readyOn: Map<string, Set<Agent>>
  readonly line: Line
  readonly owed: Map<string, Owed>
  readonly counts: Map<string, FuncCounts>
  readonly aside: Heap<Aside>
  /** Of those aside, the ones that no member could run. */
  readonly hopeless: Map<Terms, Set<Call>>
  /** By account. */
  readonly reservations: Map<string, Reservation>
}

export interface Now {
  readonly ms: number
  readonly wall: string
}

/** What an agent says of one attempt. */
type Said = { readonly agentId: string; readonly key: AttemptKey }

export type LedgerEvent =
  | {
      readonly type: 'accept'
      readonly id: string
      readonly terms: Terms
      readonly sync: boolean
      readonly payload: Uint8Array
      readonly environment: readonly string[]
      readonly note: string
    }
  /** `delivered`: the synchronous client has its body; or, below, will never have it. */
  | { readonly type: 'cancel' | 'delivered'; readonly callId: string }
  | { readonly type: 'undelivered'; readonly callId: string; readonly body: Uint8Array }
  | { readonly type: 'quota'; readonly accountId: string; readonly quota: number }
  | { readonly type: 'remove-account'; readonly accountId: string }
  /** Cancels up to `removedPerStepMax` of its calls. */
  | { readonly type: 'remove-func'; readonly funcId: string }
  | {
      readonly type: 'connect'
      readonly agentId: string
      readonly name: string
      readonly session: number
      readonly hello: Hello
      /** A later hello of the same store was heard before: what this one does not name proves nothing. */
      readonly isStale?: boolean
      /** … and it was another process, or its disk was set back: nor does what it says later. */
      readonly isCopy?: boolean
    }
  | { readonly type: 'disconnect'; readonly agentId: string; readonly session: number }
  | { readonly type: 'forget'; readonly agentId: string; readonly reason: string }
  | { readonly type: 'advert'; readonly agentId: string; readonly advert: Advert }
  /** The operator's word, of which an agent that is here is told; and the agent's own. */
  | { readonly type: 'drain' | 'draining'; readonly agentId: string; readonly draining: boolean }
  | { readonly type: 'heartbeat'; readonly agentId: string; readonly keys: readonly AttemptKey[] }
  | { readonly type: 'bulk'; readonly agentId: string }
  | (Said & { readonly type: 'started' })
  | (Said & { readonly type: 'refused'; readonly message: string })
  | (Said & { readonly type: 'gone' })
  | (Said & { readonly type: 'result'; readonly result: AttemptResult })
  /** The account gave credentials for a registry. */
  | { readonly type: 'registry-auth'; readonly accountId: string }
  /** The assignment could not be made: the stored payload is damaged. */
  | { readonly type: 'unassignable'; readonly key: AttemptKey; readonly message: string }
  /** The state comes from a backup: what was decided after it is not known. */
  | { readonly type: 'restored'; readonly callIds: readonly string[] }
  | { readonly type: 'tick' }

export type Effect =
  | { readonly type: 'write'; readonly operation: Operation }
  | {
      readonly type: 'log'
      readonly funcId: string
      readonly line: LogEntry
      /** Where it is the last of its call. */
      readonly end?: CallEnd
    }
  /** A call ended: its history row begins; `body` goes to the cache, unless it is owed. */
  | {
      readonly type: 'ended'
      readonly row: HistoryRow
      readonly body: Uint8Array
      readonly isOwed: boolean
    }
  /** An owed body goes to the cache after all. */
  | { readonly type: 'keep-output'; readonly row: HistoryRow; readonly body: Uint8Array }
  /** An owed body has been delivered: nothing of it is kept. */
  | { readonly type: 'output-gone'; readonly row: HistoryRow }
  | {
      readonly type: 'final'
      readonly callId: string
      readonly attempt: number
      readonly outcome: Outcome
      readonly body: Uint8Array
    }
  | {
      readonly type: 'assign'
      readonly agentId: string
      readonly key: AttemptKey
      readonly terms: Terms
      readonly seq: number
    }
  | {
      readonly type: 'welcome'
      readonly agentId: string
      readonly session: number
      readonly verdicts: Verdict[]
    }
  | { readonly type: 'send'; readonly agentId: string; readonly order: Order }

/** An order without session and epoch: the roster adds those of the moment it was decided. */
export type Order = CoordinatorOrder extends infer O
  ? O extends CoordinatorOrder
    ? Omit<O, 'session' | 'epoch'> & { readonly session: number }
    : never
  : never
