/**
 * What clients, containers, agents and disks saw of a run: plain data, in order of virtual time.
 * The checker (checker.ts) reads nothing else, so that whatever can write such a history, a run on
 * real processes as well, can be checked by it.
 */

/** Bytes as they are compared: their number and a hash of them. */
export type Digest = string

export interface WrittenRow {
  readonly type: 'put' | 'del' | 'put-body' | 'del-body'
  /** Sublevel, or kind of body. */
  readonly table: string
  readonly key: string
  readonly value?: unknown
  readonly body?: Digest
}

/** How a run of a function's process ended, as its container knows. */
export type ProcessEnd =
  | 'exited'
  | 'failed'
  | 'killed'
  | 'oom'
  | 'timeout'
  | 'orphaned'
  | 'overflow'

/** Which coordinator it was that answered, or was asked. */
interface OfCoordinator {
  readonly coordinator: string
}

type ClientSaw =
  | {
      readonly type: 'submitted'
      readonly op: number
      readonly funcId: string
      readonly accountId: string
      readonly isSync: boolean
      readonly input: Digest
    }
  /** Told 200 and its id; of a synchronous call: it has begun. */
  | ({ readonly type: 'accepted'; readonly op: number; readonly callId: string } & OfCoordinator)
  | { readonly type: 'refused'; readonly op: number; readonly code: string }
  | { readonly type: 'broken'; readonly op: number }
  /** The answer to a question: 201, 202, 404, or the end of the call. */
  | {
      readonly type: 'seen'
      readonly coordinator: string
      readonly op: number
      readonly callId: string
      readonly via: 'sync' | 'get' | 'wait'
      readonly askedMs: number
      readonly status: number
      readonly code: string
      readonly attempt: number
      readonly body: Digest
      /** Of a body that is no output: what it says. */
      readonly text: string
      /** All of it came. */
      readonly isWhole: boolean
    }
  /** The gateway said so: the body was flushed and the socket had not failed, or not. */
  | ({
      readonly type: 'delivered'
      readonly callId: string
      readonly isDelivered: boolean
    } & OfCoordinator)
  | ({ readonly type: 'cancelled'; readonly callId: string } & OfCoordinator)
  | {
      readonly type: 'function'
      readonly coordinator: string
      readonly funcId: string
      readonly accountId: string
      readonly revision: number
      readonly timeoutMs: number
      readonly memoryBytes: number
      readonly atMostOnce: boolean
      readonly maxAttempts: number
      readonly retryOnExit: number
      /** Not every member could run it. */
      readonly isDemanding: boolean
    }
  | ({ readonly type: 'function-removing'; readonly funcId: string } & OfCoordinator)
  | { readonly type: 'quota-asked'; readonly accountId: string; readonly quota: number }
  | { readonly type: 'quota-told'; readonly accountId: string; readonly quota: number }

type ContainerSaw =
  /** The agent begins an attempt: it asks for a container. */
  | { readonly type: 'container-asked'; readonly agentId: string; readonly attempt: string }
  | {
      readonly type: 'container'
      readonly container: string
      readonly agentId: string
    }
  /** From now on it is the attempt's. */
  | { readonly type: 'container-taken'; readonly container: string; readonly attempt: string }
  | {
      readonly type: 'process'
      readonly container: string
      readonly agentId: string
      readonly attempt: string
      readonly input: Digest
      readonly timeoutMs: number
      /** Whether the agent's disk had a note of it, and whether that would survive a power cut. */
      readonly note: 'none' | 'volatile' | 'synced'
    }
  | {
      readonly type: 'process-end'
      readonly container: string
      readonly attempt: string
      readonly end: ProcessEnd
      readonly output: Digest
    }
  | { readonly type: 'container-removed'; readonly container: string; readonly agentId: string }

type AgentSaw =
  | { readonly type: 'agent'; readonly agentId: string; readonly what: AgentChange }
  /** Its hello tells the coordinator what it can take. */
  | {
      readonly type: 'greets'
      readonly agentId: string
      readonly slots: number
      readonly memoryBytes: number
    }
  /** Its process does nothing until then, if it lives so long. */
  | { readonly type: 'stands-still'; readonly agentId: string; readonly untilMs: number }
  | {
      readonly type: 'welcomed'
      readonly agentId: string
      readonly epoch: number
      readonly session: number
    }
  /** Its coordinator goes on without it. */
  | { readonly type: 'told-to-cancel'; readonly agentId: string; readonly attempt: string }
  /** A heartbeat that was answered. */
  | {
      readonly type: 'renewed'
      readonly agentId: string
      readonly attempts: readonly string[]
      readonly sentMs: number
    }
  | { readonly type: 'result-kept'; readonly agentId: string; readonly attempt: string }
  | {
      readonly type: 'reported'
      readonly agentId: string
      readonly attempt: string
      readonly code: string
      readonly started: boolean
      readonly output: Digest
      /** Made up: no attempt of this agent ended so. */
      readonly isForged: boolean
    }
  /** An entry of the outbox goes: it was acknowledged. */
  | { readonly type: 'acknowledged'; readonly agentId: string; readonly attempt: string }

type AgentChange =
  | 'starts'
  | 'is killed'
  | 'loses power'
  | 'loses its store'
  | 'is removed'
  | 'leaves'
  | 'drains'
  | 'drains no more'

type CoordinatorSaw =
  | {
      readonly type: 'coordinator'
      readonly coordinator: string
      readonly what: 'starts' | 'is killed' | 'stops at a fault' | 'is restored'
      readonly epoch: number
    }
  /** What is durable now is kept, and may be restored. */
  | { readonly type: 'backup'; readonly coordinator: string }
  /** These rows are on its disk, in this order. Nothing of them was decided before `sinceMs`. */
  | {
      readonly type: 'committed'
      readonly coordinator: string
      readonly sinceMs: number
      readonly rows: readonly WrittenRow[]
    }
  /** Only now the process hears of rows that were on its disk at `landedMs`. */
  | { readonly type: 'heard'; readonly coordinator: string; readonly landedMs: number }
  /** The ledger's own record of who may be passed. */
  | { readonly type: 'aside'; readonly callId: string; readonly reason: string }
  | { readonly type: 'aside-no-more'; readonly callId: string }

/** A fault was done; for people, and for counting. */
interface Fault {
  readonly type: 'fault'
  readonly what: string
}

/** The faults are over, and the time that all had to come to rest. */
interface Rest {
  readonly type: 'rest'
  /** What is left, by name: containers, notes, results, calls, leases, debts, bodies, waiters. */
  readonly left: Readonly<Record<string, readonly string[]>>
}

/** The last word of every call whose id a client knows, asked after all had come to rest. */
interface LastLook {
  readonly type: 'last-look'
}

/** The faults are over, and what they broke works again. */
interface Healed {
  readonly type: 'healed'
}

type Observed =
  | ClientSaw
  | ContainerSaw
  | AgentSaw
  | CoordinatorSaw
  | Fault
  | Healed
  | Rest
  | LastLook
export type Observation = Observed & { readonly atMs: number }

export interface History {
  readonly observations: readonly Observation[]
  record(observed: Observed): void
}

export const createHistory = (nowMs: () => number): History => {
  const observations: Observation[] = []
  return {
    observations,
    record: (observed) => void observations.push({ ...observed, atMs: nowMs() }),
  }
}

/** Of a large body, its ends and a byte in every page: what is compared was made to differ there. */
export const digestOf = (bytes: Uint8Array): Digest => {
  const { byteLength } = bytes
  const step = byteLength <= 4096 ? 1 : 1021
  let hash = 0x811c9dc5
  for (let at = 0; at < byteLength; at += at < 256 || at > byteLength - 256 ? 1 : step) {
    hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193)
  }
  return `${byteLength}:${(hash >>> 0).toString(16)}`
}
