/** Invariants of what containers and agents saw, and of what is left at the end. */

import { limits } from '../../protocol/limits.ts'
import { callFactsOf, type Evidence, Violation } from './evidence.ts'
import { lostCalls } from './lines.ts'

const callOf = (attempt: string): string => attempt.slice(0, attempt.indexOf('.'))

/** No container serves two attempts, and none is started twice. */
const freshContainers = ({ of }: Evidence): void => {
  const made = new Set<string>()
  for (const { container, atMs } of of('container')) {
    if (made.has(container)) throw new Violation(`container ${container} was made twice`, atMs)
    made.add(container)
  }
  const taken = new Set<string>()
  for (const { container, atMs } of of('container-taken')) {
    if (taken.has(container)) throw new Violation(`${container} is given to a second call`, atMs)
    taken.add(container)
  }
  const started = new Set<string>()
  for (const { container, attempt, atMs } of of('process')) {
    if (started.has(container)) throw new Violation(`${container} serves a second call`, atMs)
    if (started.has(attempt)) throw new Violation(`${attempt} was started twice`, atMs)
    started.add(container).add(attempt)
  }
}

/** An at-most-once call starts at most one process. */
const atMostOnce = ({ of, calls, functions }: Evidence): void => {
  const started = new Set<string>()
  for (const { attempt, atMs } of of('process')) {
    const id = callOf(attempt)
    const { row, submitted } = calls.get(id) ?? {}
    const [first] = functions.get(row?.funcId ?? submitted?.funcId ?? '') ?? []
    if (first?.atMostOnce !== true) continue
    if (started.has(id)) throw new Violation(`${id} was started a second time`, atMs)
    started.add(id)
  }
}

/** The lease is on disk first, but for a call that a client waits for and that may run twice. */
const leasedFirst = ({ observations, calls, functions }: Evidence): void => {
  const leased = new Set<string>()
  for (const one of observations) {
    if (one.type === 'committed') {
      for (const { type, table, key } of one.rows) {
        if (type === 'put' && table === 'lease') leased.add(key)
      }
    } else if (one.type === 'process' && !leased.has(one.attempt)) {
      const { row, submitted } = calls.get(callOf(one.attempt)) ?? {}
      const [first] = functions.get(row?.funcId ?? submitted?.funcId ?? '') ?? []
      if (submitted?.isSync === false || first?.atMostOnce === true) {
        throw new Violation(`${one.attempt} was started before its lease was on disk`, one.atMs)
      }
    }
  }
}

/** What was taken for never started, and was forgotten as an attempt, never starts. */
const neverStarted = ({ replay }: Evidence): void => {
  const leased = new Set<string>()
  replay({
    row({ type, table, key }) {
      if (type === 'put' && table === 'lease') leased.add(key)
    },
    other(one, disk) {
      if (one.type !== 'process' || !leased.has(one.attempt)) return
      const call = disk.calls.get(callOf(one.attempt))
      if (call === undefined) return
      const isGranted = call.granted.some(
        ({ attempt, epoch }) => `${call.id}.${attempt}.${epoch}` === one.attempt,
      )
      if (!isGranted) {
        throw new Violation(`${one.attempt} was taken for never started, and starts`, one.atMs)
      }
    },
  })
}

/** A process is started only after its agent noted it; durably, where it may start only once. */
const notedFirst = ({ of, calls, functions }: Evidence): void => {
  for (const { attempt, note, atMs } of of('process')) {
    if (note === 'none') throw new Violation(`${attempt} was started before it was noted`, atMs)
    const [first] = functions.get(calls.get(callOf(attempt))?.row?.funcId ?? '') ?? []
    if (first?.atMostOnce === true && note !== 'synced') {
      throw new Violation(`${attempt} was started on a note that a power cut would take`, atMs)
    }
  }
}

/**
 * What ended by itself is in the outbox before its container goes, unless its call has ended, or its
 * result was taken already: it was reported while it was being written, and only its attempt ended.
 * One that ended by itself after it was to be cancelled, and before it was, is wanted by nobody.
 */
const keptFirst = ({ observations, calls, of }: Evidence): void => {
  const ended = new Map<string, string>()
  const kept = new Set<string>()
  const cancelled = new Set<string>()
  let awaited = new Map<string, ReadonlySet<string>>()
  let backedUp = new Map(awaited)
  // Who lost its notes knows its containers no more.
  const forgetful = new Set(
    of('agent').flatMap(({ agentId, what }) =>
      what === 'loses its store' || what === 'loses power' ? [agentId] : [],
    ),
  )
  const lost = lostCalls(observations)
  for (const one of observations) {
    if (one.type === 'result-kept') kept.add(one.attempt)
    else if (one.type === 'backup') backedUp = new Map(awaited)
    // What was granted after the backup is not known any more.
    else if (one.type === 'coordinator' && one.what === 'is restored') awaited = new Map(backedUp)
    else if (one.type === 'committed') {
      for (const row of one.rows) {
        if (row.type !== 'put' || row.table !== 'call') continue
        const { id, granted } = callFactsOf(row)
        awaited.set(id, new Set(granted.map(({ attempt, epoch }) => `${id}.${attempt}.${epoch}`)))
      }
    }
    if (one.type === 'told-to-cancel') cancelled.add(one.attempt)
    else if (one.type === 'process-end' && one.end !== 'killed') {
      if (!cancelled.has(one.attempt)) ended.set(one.container, one.attempt)
    } else if (one.type === 'container-removed' && !forgetful.has(one.agentId)) {
      const attempt = ended.get(one.container)
      if (attempt === undefined || kept.has(attempt)) continue
      if (awaited.get(callOf(attempt))?.has(attempt) === false) continue
      if (lost.has(callOf(attempt))) continue
      const { finals = [], acceptedMs = null, rowMs = null } = calls.get(callOf(attempt)) ?? {}
      const isOver =
        finals.some(({ atMs }) => atMs <= one.atMs) || (acceptedMs === null && rowMs === null)
      if (!isOver && rowMs !== null) {
        throw new Violation(`${attempt} had ended, and its result was kept by nobody`, one.atMs)
      }
    }
  }
}

/** An entry of the outbox goes only when the coordinator's disk does not need it any more. */
const acknowledgedIsCommitted = ({ replay, of }: Evidence): void => {
  const forged = new Set(of('reported').flatMap((one) => (one.isForged ? [one.attempt] : [])))
  replay({
    other(one, disk) {
      if (one.type !== 'acknowledged' || forged.has(one.attempt)) return
      const { atMs, attempt, agentId } = one
      const call = disk.calls.get(callOf(attempt))
      const isAwaited = call?.granted.some(
        (grant) =>
          grant.agentId === agentId && `${call.id}.${grant.attempt}.${grant.epoch}` === attempt,
      )
      if (isAwaited === true) throw new Violation(`${attempt} was acknowledged too early`, atMs)
      if (disk.owed.get(callOf(attempt)) === attempt) {
        throw new Violation(`${attempt} was acknowledged, and its body is still owed`, atMs)
      }
    },
  })
}

/** Nothing is begun for a coordinator that a later one has replaced. */
const onlyHigherEpoch = ({ observations }: Evidence): void => {
  const highest = new Map<string, number>()
  for (const one of observations) {
    if (one.type === 'welcomed') {
      const former = highest.get(one.agentId) ?? 0
      if (one.epoch < former) throw new Violation(`${one.agentId} obeys a lower epoch`, one.atMs)
      highest.set(one.agentId, one.epoch)
    } else if (one.type === 'agent' && one.what === 'loses its store') highest.delete(one.agentId)
    else if (one.type === 'container-asked') {
      const epoch = Number(one.attempt.slice(one.attempt.lastIndexOf('.') + 1))
      if (epoch < (highest.get(one.agentId) ?? 0)) {
        throw new Violation(`${one.agentId} begins ${one.attempt} for a lower epoch`, one.atMs)
      }
    }
  }
}

/** Engines and agents are slow, and stand still at times. */
const SWEPT_MS = 4 * limits.demandGenerationMs + limits.sweepMs + limits.startMsMax + 60_000

/** By agent: when it last went on after it had stood still, by itself or as another process. */
const wokenMs = ({ observations }: Evidence): ReadonlyMap<string, number> => {
  const woken = new Map<string, number>()
  for (const one of observations) {
    const untilMs = 'agentId' in one ? (woken.get(one.agentId) ?? 0) : 0
    if (one.type === 'stands-still') woken.set(one.agentId, Math.max(untilMs, one.untilMs))
    else if (one.type === 'agent' && one.what === 'starts') {
      woken.set(one.agentId, Math.min(untilMs, one.atMs))
    }
  }
  return woken
}

/**
 * A container in which nothing was started stood ready, and is gone by the next sweep after that, if
 * its agent is there: one that stands still has yet to see it, or to sweep.
 */
const isSwept = (evidence: Evidence): void => {
  const { of } = evidence
  const woken = wokenMs(evidence)
  const healedMs = of('healed')[0]?.atMs ?? Number.POSITIVE_INFINITY
  const removed = new Map(of('container-removed').map((one) => [one.container, one.atMs]))
  const started = new Set(of('process').map(({ container }) => container))
  const gone = new Set(
    of('agent').flatMap(({ agentId, what }) =>
      what === 'leaves' || what === 'is removed' ? [agentId] : [],
    ),
  )
  for (const { container, agentId, atMs } of of('container')) {
    const removedMs = removed.get(container)
    // Who never removed one that is not left had it taken away by others.
    if (removedMs === undefined || started.has(container) || gone.has(agentId)) continue
    const latestMs = Math.max(atMs, healedMs, woken.get(agentId) ?? 0) + SWEPT_MS
    if (removedMs > latestMs) throw new Violation(`${container} stayed for long`, removedMs)
  }
}

/** After the run nothing is left. */
const nothingLeft = ({ of }: Evidence): void => {
  for (const { left, atMs } of of('rest')) {
    for (const [what, names] of Object.entries(left)) {
      if (names.length > 0) throw new Violation(`left over: ${what}: ${names.join(', ')}`, atMs)
    }
  }
}

export const AGENT_INVARIANTS = {
  'invariant 4 (fresh container)': freshContainers,
  'invariant 4 (at most once)': atMostOnce,
  'invariant 4 (lease first)': leasedFirst,
  'promise 6 (noted first)': notedFirst,
  'promise 6 (kept first)': keptFirst,
  'epoch (only the higher is obeyed)': onlyHigherEpoch,
  'invariant 9 (swept)': isSwept,
  'invariant 9 (nothing left)': nothingLeft,
} as const

/** Of what one coordinator, or a line of them, had committed. */
export const COMMITTED_INVARIANTS = {
  'invariant 4 (never started)': neverStarted,
  'promise 6 (acknowledged is committed)': acknowledgedIsCommitted,
} as const
