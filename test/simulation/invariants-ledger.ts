/** Invariants of what was decided, as the coordinators' disks show it. */

import { type LeaseRow, parseHistoryRow, parseLeaseRow } from '../../coordinator/rows.ts'
import { isPlatformFailure } from '../../protocol/call.ts'
import { isErrorCode } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { callFactsOf, type DiskState, type Evidence, type Seen, Violation } from './evidence.ts'
import type { WrittenRow } from './history.ts'

const at = (ms: number): string => `${(ms / 1000).toFixed(3)} s`

/** Every call that was accepted has one final state, and only those have one. */
const oneFinalState = ({ calls, isEnding }: Evidence): void => {
  for (const { id, row, finals, acceptedMs, isSync, rowMs, isRemoved } of calls.values()) {
    const [first, second] = finals
    if (second !== undefined) throw new Violation(`${id} ended a second time`, second.atMs)
    if (first !== undefined && row === null) {
      throw new Violation(`${id} was never accepted, and has ended`, first.atMs)
    }
    if (acceptedMs === null) continue
    // What a client waits for synchronously was promised to nobody before its answer.
    if (rowMs === null && isSync) continue
    if (isEnding && first === undefined && !isRemoved) {
      throw new Violation(`${id} has no end`, acceptedMs)
    }
  }
}

/** Nobody is told that a call is accepted before it is on disk. */
const acceptedIsDurable = ({ calls }: Evidence): void => {
  for (const { id, acceptedMs, isSync, rowMs } of calls.values()) {
    if (acceptedMs === null || isSync) continue
    if (rowMs === null || rowMs > acceptedMs) {
      throw new Violation(`${id} was told to be accepted, and was not on disk`, acceptedMs)
    }
  }
}

/** First leases of an account are in the order of acceptance, but for calls that are set aside. */
const inOrder = ({ replay, wasAside, functions }: Evidence): void => {
  const accountOf = (funcId: string): string | undefined => functions.get(funcId)?.[0]?.accountId
  replay({
    row({ type, table, value }, disk, batch) {
      if (type !== 'put' || table !== 'lease') return
      const { key } = parseLeaseRow(value)
      const granted = disk.calls.get(key.call)
      if (granted === undefined || disk.leasedOnce.has(key.call)) return
      for (const other of disk.calls.values()) {
        const isPassed =
          accountOf(other.funcId) === accountOf(granted.funcId) &&
          other.seq < granted.seq &&
          !disk.leasedOnce.has(other.id)
        if (isPassed && !wasAside(other.id, batch.sinceMs, batch.atMs)) {
          throw new Violation(`${granted.id} was leased before ${other.id}`, batch.atMs)
        }
      }
    },
  })
}

const checkQuota = (lease: LeaseRow, disk: DiskState, batch: Seen<'committed'>): void => {
  const held = [...disk.leases.values()].filter((one) => one.accountId === lease.accountId).length
  const quota = disk.formerQuotas.reduce(
    (most, former) =>
      former.accountId === lease.accountId && batch.sinceMs <= former.untilMs
        ? Math.max(most, former.quota)
        : most,
    disk.quotas.get(lease.accountId) ?? 0,
  )
  if (held >= quota) {
    const why = `a lease of ${lease.key.call} beyond the quota: ${held} of ${quota} are held`
    throw new Violation(why, batch.atMs)
  }
}

/** No lease is granted beyond the quota of its account. */
const withinQuota = ({ replay }: Evidence): void =>
  replay({
    row({ type, table, key, value }, disk, batch) {
      if (type !== 'put' || table !== 'lease') return
      if (disk.leases.has(key)) throw new Violation(`${key} is leased twice`, batch.atMs)
      checkQuota(parseLeaseRow(value), disk, batch)
    },
  })

/** No lease is granted beyond an agent's slots and memory, as its hellos told them. */
const withinRoom = ({ replay, of }: Evidence): void => {
  const hellos = Map.groupBy(of('greets'), ({ agentId }) => agentId)
  const welcomes = Map.groupBy(of('welcomed'), ({ agentId }) => agentId)
  const mostOf = (agentId: string, batch: Seen<'committed'>) => {
    const all = (hellos.get(agentId) ?? []).filter(({ atMs }) => atMs <= batch.atMs)
    const welcomedMs =
      welcomes.get(agentId)?.findLast(({ atMs }) => atMs <= batch.atMs)?.atMs ??
      Number.NEGATIVE_INFINITY
    // One that was on its way for long is heard late, all of them by a coordinator that stood still:
    // what is known is the one that was answered last, or any after it.
    const answered = all.findLastIndex(({ atMs }) => atMs <= welcomedMs)
    const last = all.slice(Math.min(Math.max(0, answered), Math.max(0, all.length - 3)))
    return {
      slots: Math.max(0, ...last.map(({ slots }) => slots)),
      memoryBytes: Math.max(0, ...last.map(({ memoryBytes }) => memoryBytes)),
    }
  }
  replay({
    row({ type, table, value }, disk, batch) {
      if (type !== 'put' || table !== 'lease') return
      const lease = parseLeaseRow(value)
      const own = [...disk.leases.values()].filter((one) => one.agentId === lease.agentId)
      const bytes = own.reduce((sum, one) => sum + one.memoryBytes, lease.memoryBytes)
      const most = mostOf(lease.agentId, batch)
      if (own.length < most.slots && bytes <= most.memoryBytes) return
      const why = `a lease on ${lease.agentId} beyond its room: ${own.length} of ${most.slots} slots`
      throw new Violation(why, batch.atMs)
    },
  })
}

/** A final state of the function's own comes from an attempt granted to the agent that told it. */
const onlyGranted = ({ replay, of }: Evidence): void => {
  const granted = new Set<string>()
  const reports = Map.groupBy(of('reported'), ({ attempt }) =>
    attempt.slice(0, attempt.lastIndexOf('.')),
  )
  replay({
    row({ type, table, key, value }, _disk, { atMs }) {
      if (type !== 'put') return
      if (table === 'lease') granted.add(`${key} ${parseLeaseRow(value).agentId}`)
      if (table !== 'history') return
      const { id, attempt, outcome } = parseHistoryRow(value)
      const isOurs = outcome.code === 'CALL_CANCELLED' || isPlatformFailure(outcome.code)
      if (isOurs) return
      const isTold = (reports.get(`${id}.${attempt}`) ?? []).some(
        (report) =>
          report.atMs <= atMs &&
          report.code === outcome.code &&
          granted.has(`${report.attempt} ${report.agentId}`),
      )
      if (!isTold) {
        const why = `${id} ended as ${outcome.code} by no attempt that was granted`
        throw new Violation(why, atMs)
      }
    },
  })
}

/** A call that was told to be cancelled gets no lease any more. */
const cancelledStaysSo = ({ replay, calls }: Evidence): void =>
  replay({
    row({ type, table, value }, _disk, { sinceMs, atMs }) {
      if (type !== 'put' || table !== 'lease') return
      const { call } = parseLeaseRow(value).key
      const cancelledMs = calls.get(call)?.cancelledMs ?? null
      if (cancelledMs !== null && sinceMs > cancelledMs) {
        throw new Violation(`${call} was cancelled at ${at(cancelledMs)}, and leased`, atMs)
      }
    },
  })

/** What is ours to keep is kept: no call ends because we lost its input or its function. */
const nothingMislaid = ({ calls }: Evidence): void => {
  for (const { id, finals } of calls.values()) {
    for (const { row, atMs } of finals) {
      const { code, message } = row.outcome
      if (code === 'INTERNAL')
        throw new Violation(`${id} ended by a fault of ours: ${message}`, atMs)
    }
  }
}

/** A renewal that was answered holds for its length and the margin. */
const leaseHolds = ({ observations, of, functions }: Evidence): void => {
  const renewedMs = new Map<string, number>()
  const lost = new Set<string>()
  const reported = new Set(of('reported').map(({ attempt }) => attempt))
  // Of these nothing is waited for.
  const forgetful = new Set(
    of('agent').flatMap(({ agentId, what }) =>
      ['loses its store', 'is removed', 'leaves'].includes(what) ? [agentId] : [],
    ),
  )
  const leastMs = limits.leaseMsMin * (1 + limits.leaseMarginRatio) + limits.leaseMarginMs
  const checkLost = (written: WrittenRow, atMs: number): void => {
    const row = callFactsOf(written)
    const isOnce = functions.get(row.funcId)?.[0]?.atMostOnce === true
    for (const { attempt, epoch, agentId, isLost } of row.granted) {
      const name = `${row.id}.${attempt}.${epoch}`
      const wasLost = lost.has(name)
      if (isLost) lost.add(name)
      else lost.delete(name)
      if (wasLost || !isLost || isOnce || reported.has(name) || forgetful.has(agentId)) continue
      const heldMs = atMs - (renewedMs.get(name) ?? Number.NEGATIVE_INFINITY)
      if (heldMs < leastMs) {
        throw new Violation(`${name} was lost ${at(heldMs)} after a renewal`, atMs)
      }
      renewedMs.delete(name)
    }
  }
  for (const one of observations) {
    if (one.type === 'renewed') {
      for (const attempt of one.attempts) renewedMs.set(attempt, one.sentMs)
    } else if (one.type === 'committed') {
      for (const written of one.rows) {
        if (written.type === 'put' && written.table === 'call') checkLost(written, one.atMs)
      }
    }
  }
}

/** Set aside is only who failed for the platform's reasons, or whom no member could run. */
const asideForReason = ({ of, calls, functions }: Evidence): void => {
  const failed = new Set(
    of('reported')
      .filter(({ code }) => isErrorCode(code) && isPlatformFailure(code))
      .map(({ attempt }) => attempt.slice(0, attempt.indexOf('.'))),
  )
  for (const { callId, reason, atMs } of of('aside')) {
    const { row, submitted } = calls.get(callId) ?? {}
    // Of one that was never written nobody knows what it was.
    const funcId = row?.funcId ?? submitted?.funcId ?? ''
    const isPlain = functions.get(funcId)?.every((one) => !one.isDemanding) ?? true
    if (failed.has(callId) || !isPlain || funcId === '') continue
    throw new Violation(`${callId} was set aside for no reason seen: ${reason}`, atMs)
  }
}

export const LEDGER_INVARIANTS = {
  'invariant 1 (one final state)': oneFinalState,
  'promise 1 (accepted is durable)': acceptedIsDurable,
  'invariant 2 (order)': inOrder,
  'invariant 2 (set aside)': asideForReason,
  'invariant 3 (quota)': withinQuota,
  'invariant 3 (room)': withinRoom,
  'invariant 6 (granted)': onlyGranted,
  'lease (holds)': leaseHolds,
  'cancelled calls': cancelledStaysSo,
  'nothing mislaid': nothingMislaid,
} as const
