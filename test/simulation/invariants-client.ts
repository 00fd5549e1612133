/** Invariants of what clients were answered. */

import { limits } from '../../protocol/limits.ts'
import { type CallStory, type Evidence, type Seen, Violation } from './evidence.ts'
import { errorTextOf } from './workload.ts'

const GONE = 410

const callOf = (attempt: string): string => attempt.slice(0, attempt.indexOf('.'))

/** A body is what one granted attempt's process wrote, and every delivery of a call is the same. */
const sameBody = ({ calls, of }: Evidence): void => {
  const outputs = Map.groupBy(
    of('process-end').filter(({ end }) => end === 'exited'),
    ({ attempt }) => callOf(attempt),
  )
  for (const { id, seen } of calls.values()) {
    const ends = seen.filter(({ status, isWhole }) => isWhole && status >= 200 && status !== GONE)
    const bodies = ends.filter(({ code }) => code !== '')
    const [first] = bodies
    for (const one of bodies) {
      if (one.body !== first?.body || one.status !== first.status) {
        throw new Violation(`${id} was delivered as ${first?.body}, then ${one.body}`, one.atMs)
      }
      const isWritten = (outputs.get(id) ?? []).some(
        ({ attempt, output }) => output === one.body && attempt.startsWith(`${id}.${one.attempt}.`),
      )
      if (one.status === 200 && !isWritten) {
        throw new Violation(`no process of ${id} wrote what was delivered`, one.atMs)
      }
      const words = errorTextOf(`${id}.${one.attempt}.`)
      if (one.code === 'CALL_EXITED' && !one.text.includes(words)) {
        throw new Violation(`${id} failed with the words of another: ${one.text}`, one.atMs)
      }
    }
  }
}

/** A process gets its call's own input, and the function as it was when the call was accepted. */
const ownInput = ({ calls, of, functions }: Evidence): void => {
  for (const { attempt, input, timeoutMs, atMs } of of('process')) {
    const { submitted, row } = calls.get(callOf(attempt)) ?? {}
    if (submitted && submitted.input !== input) {
      throw new Violation(`${attempt} was given the input of another call`, atMs)
    }
    if (row === null || row === undefined) continue
    const revision = functions.get(row.funcId)?.find((one) => one.revision === row.revision)
    if (revision !== undefined && revision.timeoutMs !== timeoutMs) {
      throw new Violation(`${attempt} was run as another revision of its function`, atMs)
    }
  }
}

const rankOf = ({ status }: Seen<'seen'>): number => {
  if (status === 202) return 0
  if (status === 201) return 1
  if (status === GONE) return 3
  return status === 404 ? 4 : 2
}

/** Until when the body of a call was still with its agent, as the disk has it. */
const owedUntil = (commits: readonly Seen<'committed'>[]): Map<string, number> => {
  const until = new Map<string, number>()
  for (const { rows, atMs } of commits) {
    for (const { type, table, key } of rows) {
      if (table === 'owed') until.set(key, type === 'put' ? Number.POSITIVE_INFINITY : atMs)
    }
  }
  return until
}

/** Status never goes back, but from running to waiting on a new attempt or after a restart. */
const neverBack = ({ calls, of }: Evidence): void => {
  const commits = of('committed')
  const restarts = of('coordinator').map(({ atMs }) => atMs)
  const owed = owedUntil(commits)
  const leases = new Map<string, number[]>()
  for (const { rows, atMs } of commits) {
    for (const { table, key } of rows) {
      if (table !== 'lease') continue
      leases.set(callOf(key), [...(leases.get(callOf(key)) ?? []), atMs])
    }
  }
  for (const { id, seen, isSync } of calls.values()) {
    for (const later of seen) {
      for (const earlier of seen) {
        if (earlier.atMs >= later.askedMs || rankOf(earlier) <= rankOf(later)) continue
        const isBetween = (ms: number): boolean => ms >= earlier.askedMs && ms <= later.atMs
        const isRestarted = restarts.some(isBetween)
        if (rankOf(earlier) === 1 && (isRestarted || (leases.get(id) ?? []).some(isBetween))) {
          continue
        }
        // After a restart an owed body is away until its agent has told it again.
        const isAway = isSync && later.status === 201 && later.askedMs <= (owed.get(id) ?? 0)
        if (rankOf(earlier) === 2 && isAway && isRestarted) continue
        throw new Violation(`${id} was ${earlier.status}, then ${later.status}`, later.atMs)
      }
    }
  }
}

/** A call that was accepted, whose function is there, is found. */
const isFound = ({ calls }: Evidence): void => {
  for (const { id, seen, isRemoved, isSync, rowMs, acceptedMs } of calls.values()) {
    if (isRemoved || acceptedMs === null || (isSync && rowMs === null)) continue
    const missing = seen.find(({ status }) => status === 404)
    if (missing !== undefined) throw new Violation(`${id} is not found`, missing.atMs)
  }
}

/** Why a body may be gone: delivered, rotated out, or lost with the only agent that had it. */
const mayBeGone = (
  story: CallStory,
  gone: Seen<'seen'>,
  rotated: ReadonlySet<string>,
  isLossPossible: boolean,
): boolean => {
  const graceMs = story.isSync ? 0 : limits.deliveredGraceMs
  const isDelivered = story.delivered.some(
    (one) => one.isDelivered && one.atMs + graceMs <= gone.atMs,
  )
  return isDelivered || rotated.has(story.id) || (story.isSync && isLossPossible)
}

/** A delivery that broke off is none: the body is there for the next. */
const keptUntilDelivered = ({ calls, of, replay }: Evidence): void => {
  const rotated = new Set<string>()
  replay({
    row({ type, table, key }, disk) {
      if (type !== 'del' || table !== 'output' || disk.fetched.has(key)) return
      const id = disk.history.get(key)?.id
      if (id !== undefined) rotated.add(id)
    },
  })
  const losses = of('agent').filter(({ what }) =>
    ['loses its store', 'is removed', 'leaves'].includes(what),
  )
  const restoredMs = of('coordinator').find(({ what }) => what === 'is restored')?.atMs ?? 0
  for (const story of calls.values()) {
    const gone = story.seen.find(({ status }) => status === GONE)
    if (gone === undefined || story.isRemoved) continue
    // Owed in the backup, it may have been delivered since, and have left its agent.
    const wasOwed = story.finals.some(({ atMs }) => atMs < restoredMs)
    const isLossPossible = wasOwed || losses.some(({ atMs }) => atMs <= gone.atMs)
    if (!mayBeGone(story, gone, rotated, isLossPossible)) {
      throw new Violation(`the body of ${story.id} is gone, and was delivered to nobody`, gone.atMs)
    }
  }
}

/** Longer than any slow disk holds up the mark of a delivery. */
const MARK_MS = 60_000

/** A body that was delivered goes after its grace, unless a restart forgot the mark. */
const readOnce = ({ calls, of }: Evidence): void => {
  const turns = of('coordinator').map(({ atMs }) => atMs)
  for (const { id, delivered, seen } of calls.values()) {
    const first = delivered.find(({ isDelivered }) => isDelivered)
    if (first === undefined || turns.some((ms) => ms >= first.atMs)) continue
    const lastMs = first.atMs + limits.deliveredGraceMs + MARK_MS
    const late = seen.find(({ status, askedMs, code }) => {
      return askedMs > lastMs && status >= 200 && status !== GONE && code !== ''
    })
    if (late !== undefined)
      throw new Violation(`${id} was delivered long after its grace`, late.atMs)
  }
}

export const CLIENT_INVARIANTS = {
  'invariant 5 (body)': sameBody,
  'invariant 5 (input)': ownInput,
  'invariant 8 (status)': neverBack,
  'invariant 8 (found)': isFound,
  'promise 9 (kept until delivered)': keptUntilDelivered,
  'promise 9 (read once)': readOnce,
} as const
