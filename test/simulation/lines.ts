/**
 * What a restore makes of a history: two lines of it, with the time up to the backup in common.
 *
 *   former     all that the lost coordinator did and answered, up to the restore
 *   restored   what it did and answered up to the backup, then what its successor did and answered
 *
 * Whatever was acknowledged between the backup and the restore is lost, and whatever ended then may
 * run and end again: so says guarantee.md, and nothing more is excused. Each line by itself keeps
 * every promise, and what holds of containers and agents (above all: at most once) holds of the
 * whole, whichever coordinators they listened to.
 */

import { callFactsOf } from './evidence.ts'
import type { Observation } from './history.ts'

export interface Line {
  readonly observations: readonly Observation[]
  /** It goes on to the end, by when all must have come to rest. */
  readonly isEnding: boolean
}

/** The number in the row, and the names of both; null where nothing was restored. */
const findRestore = (observations: readonly Observation[]) => {
  const restoredAt = observations.findIndex(
    (one) => one.type === 'coordinator' && one.what === 'is restored',
  )
  const backupAt = observations.findLastIndex((one) => one.type === 'backup')
  const [backup, restored] = [observations[backupAt], observations[restoredAt]]
  if (backup?.type !== 'backup' || restored?.type !== 'coordinator') return null
  return { backupAt, restoredAt, former: backup.coordinator, next: restored.coordinator }
}

/** Calls that only the lost coordinator knew: nobody waits for them any more. */
export const lostCalls = (observations: readonly Observation[]): ReadonlySet<string> => {
  const restore = findRestore(observations)
  const [known, lost] = [new Set<string>(), new Set<string>()]
  observations.forEach((one, at) => {
    if (restore === null || one.type !== 'committed') return
    const isLost = one.coordinator === restore.former && at > restore.backupAt
    for (const row of one.rows) {
      if (row.type === 'put' && row.table === 'call')
        (isLost ? lost : known).add(callFactsOf(row).id)
    }
  })
  return new Set([...lost].filter((id) => !known.has(id)))
}

/** By agent: from where on in the row it listens to this coordinator. */
const joinedAt = (observations: readonly Observation[], next: string): Map<string, number> => {
  const started = observations.find(
    (one) => one.type === 'coordinator' && one.coordinator === next && one.what === 'starts',
  )
  const epoch = started?.type === 'coordinator' ? started.epoch : Number.POSITIVE_INFINITY
  const joined = new Map<string, number>()
  observations.forEach((one, at) => {
    if (one.type !== 'welcomed' || one.epoch < epoch || joined.has(one.agentId)) return
    joined.set(one.agentId, at)
  })
  return joined
}

export const linesOf = (observations: readonly Observation[]): readonly Line[] => {
  const restore = findRestore(observations)
  if (restore === null) return [{ observations, isEnding: true }]
  const { backupAt, restoredAt, former, next } = restore
  const joined = joinedAt(observations, next)
  const reported = new Set<string>()
  const isRestored = (one: Observation, at: number): boolean => {
    if ('coordinator' in one) return one.coordinator !== former || at <= backupAt
    const isBetween = at > backupAt && at < restoredAt
    if (one.type === 'aside') return !isBetween
    if (one.type === 'reported' && at > (joined.get(one.agentId) ?? Number.POSITIVE_INFINITY)) {
      reported.add(`${one.agentId} ${one.attempt}`)
    }
    // What the former one acknowledged after the backup is lost with it.
    return (
      one.type !== 'acknowledged' || at <= backupAt || reported.has(`${one.agentId} ${one.attempt}`)
    )
  }
  return [
    { observations: observations.slice(0, restoredAt), isEnding: false },
    { observations: observations.filter(isRestored), isEnding: true },
  ]
}
