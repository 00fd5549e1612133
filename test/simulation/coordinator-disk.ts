/**
 * A coordinator's disk: what is durable, and at most one batch on its way to it. A crash leaves
 * that batch there wholly or not at all; a disk that fails leaves its outcome unknown. Reads take a
 * moment, as they do in life. Values go through their stored form: what could not be stored fails.
 */

import {
  BODIES,
  type BodyKind,
  type Operation,
  type Store,
  SUBLEVELS,
  type Sublevel,
} from '../../coordinator/store.ts'
import { sealRow, unsealRow } from '../../daemon/sealed-row.ts'
import { digestOf, type History, type WrittenRow } from './history.ts'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './scheduler.ts'

type Table = Sublevel | BodyKind
type Tables = ReadonlyMap<Table, Map<string, Uint8Array>>

interface DiskHealth {
  /** A write takes this long on the average. */
  writeMs: number
  readMs: number
  /** The next write fails; what became of it is not told. */
  isFailing: boolean
  isFull: boolean
}

export interface CoordinatorDisk {
  readonly health: DiskHealth
  /** The disk for one process; what that process had not written is lost with it. */
  open(process: Process): Store
  keys(table: Table): string[]
  value(sublevel: Sublevel, key: string): unknown
  body(kind: BodyKind, key: string): Uint8Array | undefined
  /** All that is durable now. */
  copy(): Tables
  restore(copy: Tables): void
}

const rowOf = (operation: Operation): WrittenRow => {
  const { type, key } = operation
  if (type === 'put') return { type, table: operation.sublevel, key, value: operation.value }
  if (type === 'del') return { type, table: operation.sublevel, key }
  if (type === 'del-body') return { type, table: operation.kind, key }
  return { type, table: operation.kind, key, body: digestOf(operation.bytes) }
}

const emptyTables = (): Tables =>
  new Map<Table, Map<string, Uint8Array>>(
    [...SUBLEVELS, ...BODIES].map((name) => [name, new Map()]),
  )

export const createCoordinatorDisk = (deps: {
  readonly name: string
  readonly scheduler: Scheduler
  readonly random: Random
  readonly history: History
}): CoordinatorDisk => {
  const { name, scheduler, random, history } = deps
  let tables = emptyTables()
  const health: DiskHealth = { writeMs: 1, readMs: 0, isFailing: false, isFull: false }
  const of = (table: Table): Map<string, Uint8Array> => tables.get(table) ?? new Map()

  const read = (table: Table, key: string): unknown => {
    const sealed = of(table).get(key)
    return sealed === undefined ? undefined : unsealRow(sealed, `${table}/${key}`)
  }

  const write = (operation: Operation): void => {
    const { type, key } = operation
    if (type === 'put') of(operation.sublevel).set(key, sealRow(operation.value))
    else if (type === 'del') of(operation.sublevel).delete(key)
    else if (type === 'put-body') of(operation.kind).set(key, operation.bytes)
    else of(operation.kind).delete(key)
  }

  const keys = (table: Table): string[] => [...of(table).keys()].sort()

  const open = (process: Process): Store => {
    /** Nothing of what is committed was decided before the batch before it began. */
    let sinceMs = scheduler.nowMs()
    let isBusy = false
    const land = (operations: readonly Operation[], decidedSinceMs: number): void => {
      for (const operation of operations) write(operation)
      const rows = operations.map(rowOf)
      history.record({ type: 'committed', coordinator: name, sinceMs: decidedSinceMs, rows })
    }
    const answerAfterRead = async <T>(answer: () => T): Promise<T> => {
      if (health.readMs > 0) await process.pause(random.below(health.readMs))
      return answer()
    }
    const commit = (operations: readonly Operation[]): Promise<void> =>
      new Promise((resolve, reject) => {
        if (isBusy) throw new Error('one commit is in flight at a time')
        if (!process.isAlive()) return
        isBusy = true
        const decidedSinceMs = sinceMs
        sinceMs = scheduler.nowMs()
        let isOver = false
        process.died.then(() => {
          if (!isOver && random.chance(0.5)) land(operations, decidedSinceMs)
          isOver = true
        }, undefined)
        // The disk writes on while its process stands still.
        scheduler.after(random.waitMs(health.writeMs), () => {
          if (isOver) return
          isOver = true
          isBusy = false
          if (health.isFull || health.isFailing) {
            if (!health.isFull && random.chance(0.5)) land(operations, decidedSinceMs)
            health.isFailing = false
            process.take(() => reject(new Error('no space left, or a broken disk')))
            return
          }
          land(operations, decidedSinceMs)
          process.take(resolve)
        })
      })
    return {
      commit,
      get: (sublevel, key) => answerAfterRead(() => read(sublevel, key)),
      body: (kind, key) => answerAfterRead(() => of(kind).get(key)),
      async *range(sublevel, { gt = '', lt, reverse = false, limit } = {}) {
        const found = keys(sublevel).filter((key) => key > gt && (lt === undefined || key < lt))
        if (reverse) found.reverse()
        for (const key of found.slice(0, limit)) yield [key, read(sublevel, key)] as const
      },
      close: async () => undefined,
    }
  }

  return {
    health,
    open,
    keys,
    value: read,
    body: (kind, key) => of(kind).get(key),
    copy: () => new Map([...tables].map(([table, rows]) => [table, new Map(rows)])),
    restore(copy) {
      tables = new Map([...copy].map(([table, rows]) => [table, new Map(rows)]))
    },
  }
}
