/**
 * A history put in order for the checker: what was seen of each call, and the coordinators' disks
 * as they were at any moment, replayed row by row.
 */

import { parseCallRow, type Trials } from '../../coordinator/call-row.ts'
import {
  type HistoryRow,
  type LeaseRow,
  parseHistoryRow,
  parseLeaseRow,
  parseOutputRow,
  parseOwedRow,
} from '../../coordinator/rows.ts'
import { attemptName } from '../../protocol/call.ts'
import type { Digest, Observation, WrittenRow } from './history.ts'

export type Seen<T extends Observation['type']> = Extract<Observation, { type: T }>

/** What is broken, and when it was seen. */
export class Violation extends Error {
  readonly atMs: number

  constructor(message: string, atMs: number) {
    super(message)
    this.name = 'Violation'
    this.atMs = atMs
  }
}

/** What a row on disk says of a call. */
export interface CallFacts {
  readonly id: string
  readonly seq: number
  readonly funcId: string
  readonly revision: number
  readonly granted: Trials['granted']
}

export const callFactsOf = ({ key, value }: WrittenRow): CallFacts => {
  const { id, funcId, revision, trials } = parseCallRow(value)
  return { id, seq: Number(key), funcId, revision, granted: trials?.granted ?? [] }
}

/** A coordinator's disk, as far as the invariants are about it. */
export interface DiskState {
  readonly quotas: Map<string, number>
  /** Quotas that were replaced, and when that was heard: decisions of before may still follow. */
  formerQuotas: readonly {
    readonly accountId: string
    readonly quota: number
    readonly untilMs: number
  }[]
  /** By id. */
  readonly calls: Map<string, CallFacts>
  readonly leases: Map<string, LeaseRow>
  readonly leasedOnce: Set<string>
  readonly history: Map<string, HistoryRow>
  readonly outputs: Map<string, number>
  readonly bodies: Map<string, Digest>
  readonly fetched: Set<string>
  /** Attempt that each owed body is of, by call. */
  readonly owed: Map<string, string>
  /** Functions whose removal has begun, also of those that are gone. */
  readonly leaving: Set<string>
}

const emptyDisk = (): DiskState => ({
  ...{ quotas: new Map(), formerQuotas: [], calls: new Map(), leases: new Map() },
  ...{ leasedOnce: new Set(), history: new Map(), outputs: new Map(), bodies: new Map() },
  ...{ fetched: new Set(), owed: new Map(), leaving: new Set() },
})

const quotaOf = (value: unknown): number => {
  const quota = typeof value === 'object' && value !== null && 'quota' in value ? value.quota : null
  if (typeof quota !== 'number') throw new Error('an account has a quota')
  return quota
}

const putRow = (disk: DiskState, written: WrittenRow, atMs: number): void => {
  const { table, key, value } = written
  if (table === 'account') {
    const former = disk.quotas.get(key)
    if (former !== undefined) {
      const replaced = { accountId: key, quota: former, untilMs: atMs }
      disk.formerQuotas = [...disk.formerQuotas, replaced]
    }
    disk.quotas.set(key, quotaOf(value))
  } else if (table === 'func') {
    const [, funcId = ''] = key.split('/')
    if (isMarked(value)) disk.leaving.add(funcId)
  } else if (table === 'call') {
    const row = callFactsOf(written)
    disk.calls.set(row.id, row)
  } else if (table === 'lease') {
    const row = parseLeaseRow(value)
    disk.leases.set(key, row)
    disk.leasedOnce.add(row.key.call)
  } else if (table === 'history') disk.history.set(key, parseHistoryRow(value))
  else if (table === 'output') disk.outputs.set(key, parseOutputRow(value).bytes)
  else if (table === 'fetched') disk.fetched.add(key)
  else if (table === 'owed') disk.owed.set(key, attemptName(parseOwedRow(value).key))
}

/** Its removal has begun. */
const isMarked = (func: unknown): boolean =>
  typeof func === 'object' && func !== null && 'isLeaving' in func && func.isLeaving === true

const deleteRow = (disk: DiskState, { table, key }: WrittenRow): void => {
  if (table === 'call') {
    for (const row of disk.calls.values()) {
      if (row.seq === Number(key)) disk.calls.delete(row.id)
    }
  } else if (table === 'lease') disk.leases.delete(key)
  else if (table === 'history') disk.history.delete(key)
  else if (table === 'output') disk.outputs.delete(key)
  else if (table === 'fetched') disk.fetched.delete(key)
  else if (table === 'owed') disk.owed.delete(key)
  else if (table === 'account') disk.quotas.delete(key)
}

const applyRow = (disk: DiskState, row: WrittenRow, atMs: number): void => {
  if (row.type === 'put') putRow(disk, row, atMs)
  else if (row.type === 'del') deleteRow(disk, row)
  else if (row.table === 'stdout') {
    if (row.type === 'put-body') disk.bodies.set(row.key, row.body ?? '')
    else disk.bodies.delete(row.key)
  }
}

/** Until a ledger hears that a batch is durable, it decides by what was before it. */
const hear = (disk: DiskState | undefined, landedMs: number, atMs: number): void => {
  if (disk === undefined) return
  disk.formerQuotas = disk.formerQuotas.map((former) =>
    former.untilMs === landedMs ? { ...former, untilMs: atMs } : former,
  )
}

const copyOf = (disk: DiskState = emptyDisk()): DiskState => ({
  quotas: new Map(disk.quotas),
  formerQuotas: disk.formerQuotas,
  calls: new Map(disk.calls),
  leases: new Map(disk.leases),
  leasedOnce: new Set(disk.leasedOnce),
  history: new Map(disk.history),
  outputs: new Map(disk.outputs),
  bodies: new Map(disk.bodies),
  fetched: new Set(disk.fetched),
  owed: new Map(disk.owed),
  leaving: new Set(disk.leaving),
})

export interface CallStory {
  readonly id: string
  /** As its first row on disk said. */
  readonly row: CallFacts | null
  readonly submitted: Seen<'submitted'> | null
  /** When its client was told its id. */
  readonly acceptedMs: number | null
  readonly isSync: boolean
  readonly rowMs: number | null
  readonly finals: readonly { readonly row: HistoryRow; readonly atMs: number }[]
  readonly seen: readonly Seen<'seen'>[]
  readonly delivered: readonly Seen<'delivered'>[]
  readonly cancelledMs: number | null
  /** Its function was removed with force, or its account. */
  readonly isRemoved: boolean
}

export interface Evidence {
  readonly observations: readonly Observation[]
  /** Goes on until all has come to rest. */
  readonly isEnding: boolean
  readonly calls: ReadonlyMap<string, CallStory>
  readonly functions: ReadonlyMap<string, readonly Seen<'function'>[]>
  of<T extends Observation['type']>(type: T): readonly Seen<T>[]
  /** Goes through the disks of all coordinators: before each row is written, and before all else. */
  replay(visit: {
    readonly row?: (row: WrittenRow, disk: DiskState, batch: Seen<'committed'>) => void
    readonly batch?: (disk: DiskState, batch: Seen<'committed'>) => void
    readonly other?: (observation: Observation, disk: DiskState) => void
  }): void
  /** Whether a call was set aside, in the ledger's own word, at some time between. */
  wasAside(callId: string, fromMs: number, toMs: number): boolean
}

type Draft = { -readonly [K in keyof CallStory]: CallStory[K] } & {
  finals: { readonly row: HistoryRow; readonly atMs: number }[]
  seen: Seen<'seen'>[]
  delivered: Seen<'delivered'>[]
}

const pick = <T extends Observation['type']>(
  byType: ReadonlyMap<string, readonly Observation[]>,
  type: T,
): readonly Seen<T>[] => (byType.get(type) ?? []).filter((one): one is Seen<T> => one.type === type)

const tellStories = (
  byType: ReadonlyMap<string, readonly Observation[]>,
): Map<string, CallStory> => {
  const of = <T extends Observation['type']>(type: T): readonly Seen<T>[] => pick(byType, type)
  const stories = new Map<string, Draft>()
  const story = (id: string): Draft => {
    const known = stories.get(id)
    if (known !== undefined) return known
    const fresh: Draft = {
      ...{ id, row: null, submitted: null, acceptedMs: null, isSync: false, rowMs: null },
      ...{ finals: [], seen: [], delivered: [], cancelledMs: null, isRemoved: false },
    }
    stories.set(id, fresh)
    return fresh
  }
  const submissions = new Map(of('submitted').map((one) => [one.op, one]))
  for (const { op, callId, atMs } of of('accepted')) {
    const call = story(callId)
    call.submitted = submissions.get(op) ?? null
    call.isSync = call.submitted?.isSync ?? false
    call.acceptedMs = atMs
  }
  for (const { rows, atMs } of of('committed')) {
    for (const written of rows) {
      const { type, table, value } = written
      if (type !== 'put') continue
      if (table === 'call') {
        const row = callFactsOf(written)
        const call = story(row.id)
        call.row ??= row
        call.rowMs ??= atMs
      } else if (table === 'history') {
        const row = parseHistoryRow(value)
        story(row.id).finals.push({ row, atMs })
      }
    }
  }
  for (const one of of('seen')) story(one.callId).seen.push(one)
  for (const one of of('delivered')) story(one.callId).delivered.push(one)
  for (const { callId, atMs } of of('cancelled')) story(callId).cancelledMs ??= atMs
  const removed = new Set(of('function-removing').map(({ funcId }) => funcId))
  for (const call of stories.values()) {
    call.isRemoved = removed.has(call.row?.funcId ?? call.submitted?.funcId ?? '')
  }
  return stories
}

export const gather = (observations: readonly Observation[], isEnding: boolean): Evidence => {
  const byType: ReadonlyMap<string, readonly Observation[]> = Map.groupBy(
    observations,
    ({ type }) => type,
  )
  const of = <T extends Observation['type']>(type: T): readonly Seen<T>[] => pick(byType, type)
  const asides = new Map<string, { fromMs: number; toMs: number }[]>()
  for (const one of observations) {
    if (one.type === 'aside') {
      asides.set(one.callId, [
        ...(asides.get(one.callId) ?? []),
        { fromMs: one.atMs, toMs: Number.POSITIVE_INFINITY },
      ])
    } else if (one.type === 'aside-no-more') {
      const last = asides.get(one.callId)?.at(-1)
      if (last !== undefined) last.toMs = one.atMs
    }
  }
  return {
    ...{ observations, isEnding },
    of,
    calls: tellStories(byType),
    functions: Map.groupBy(of('function'), ({ funcId }) => funcId),
    replay({ row, batch, other }) {
      const disks = new Map<string, DiskState>()
      let current = emptyDisk()
      let backup = emptyDisk()
      for (const one of observations) {
        if (one.type === 'backup') backup = copyOf(disks.get(one.coordinator))
        if (one.type === 'coordinator' && one.what === 'is restored') {
          disks.set(one.coordinator, backup)
        }
        if (one.type === 'heard') hear(disks.get(one.coordinator), one.landedMs, one.atMs)
        if (one.type !== 'committed') {
          other?.(one, current)
          continue
        }
        current = disks.get(one.coordinator) ?? emptyDisk()
        disks.set(one.coordinator, current)
        for (const written of one.rows) {
          row?.(written, current, one)
          applyRow(current, written, one.atMs)
        }
        batch?.(current, one)
      }
    },
    wasAside: (callId, fromMs, toMs) =>
      (asides.get(callId) ?? []).some((spell) => spell.fromMs <= toMs && spell.toMs >= fromMs),
  }
}
