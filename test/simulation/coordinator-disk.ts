/**
 * A coordinator's disk in virtual time: the shipped store over a drive that breaks whatever the
 * contract of coordinator/store/drive.ts allows to break. A crash leaves the batch in flight there wholly
 * or not at all, files in flight absent, torn or whole, and may bring removed files back; a write
 * that is refused has an unknown outcome, and all after it are refused until the drive is reopened.
 */

import type {
  BlobFile,
  Drive,
  PageRange,
  RawOperation,
  RawRow,
} from '../../coordinator/store/drive.ts'
import { decodeRow } from '../../coordinator/store/row-form.ts'
import { createStore, type Operation, type Store } from '../../coordinator/store/store.ts'
import {
  BODIES,
  type BodyKind,
  type Sublevel,
  TABLES,
  type Table,
} from '../../coordinator/store/tables.ts'
import { limits } from '../../protocol/limits.ts'
import { digestOf, type History, type WrittenRow } from './history.ts'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './scheduler.ts'

interface DiskHealth {
  /** A write takes this long on the average. */
  writeMs: number
  readMs: number
  /** The next write is refused; what became of it is not told. */
  isFailing: boolean
  isFull: boolean
}

interface Content {
  readonly tables: ReadonlyMap<Table, Map<string, Uint8Array>>
  readonly files: Map<string, Uint8Array>
}

export interface CoordinatorDisk {
  readonly health: DiskHealth
  /** The store of one process; what that process had not written is lost with it. */
  open(process: Process): Promise<Store>
  /** Of a body's kind: wherever they lie. */
  keys(table: Sublevel | BodyKind): string[]
  value(sublevel: Sublevel, key: string): unknown
  /** Files that no row points to. */
  strayFiles(): number
  /** All that is durable now. */
  copy(): Content
  restore(copy: Content): void
}

interface DiskDeps {
  readonly name: string
  readonly scheduler: Scheduler
  readonly random: Random
  readonly history: History
}

/** Secrets and creation dates are drawn from the machine, decide nothing, and are left out. */
const UNTOLD: ReadonlyMap<Table, ReadonlySet<string>> = new Map([
  ['account', new Set(['accessKey', 'secretKey', 'tokenHash', 'created'])],
  ['func', new Set(['func', 'image'])],
])

const toldOf = (table: Table, value: unknown): unknown => {
  const untold = UNTOLD.get(table)
  if (untold === undefined || typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).filter(([name]) => !untold.has(name)))
}

const rowOf = (operation: Operation): WrittenRow => {
  const { type, key } = operation
  if (type === 'put') {
    const value = toldOf(operation.sublevel, operation.value)
    return { type, table: operation.sublevel, key, value }
  }
  if (type === 'del') return { type, table: operation.sublevel, key }
  if (type === 'del-body') return { type, table: operation.kind, key }
  return { type, table: operation.kind, key, body: digestOf(operation.bytes) }
}

const emptyContent = (): Content => ({
  tables: new Map(TABLES.map((table) => [table, new Map()])),
  files: new Map(),
})

const copyOf = ({ tables, files }: Content): Content => ({
  tables: new Map([...tables].map(([table, rows]) => [table, new Map(rows)])),
  files: new Map(files),
})

const EMPTY = new Uint8Array(0)
const PAGE_ROWS = 50

const isKind = (table: string): table is BodyKind => BODIES.some((kind) => kind === table)

/** Some of the rows, in order. */
const pageOf = (
  rows: ReadonlyMap<string, Uint8Array>,
  { gt = '', lt, reverse = false, limit = PAGE_ROWS, keysOnly = false }: PageRange,
): RawRow[] => {
  const keys = [...rows.keys()].filter((key) => key > gt && (lt === undefined || key < lt)).sort()
  if (reverse) keys.reverse()
  return keys
    .slice(0, Math.min(limit, PAGE_ROWS))
    .map((key) => [key, keysOnly ? EMPTY : (rows.get(key) ?? EMPTY)])
}

const createDrive = (
  { scheduler, random }: DiskDeps,
  content: () => Content,
  health: DiskHealth,
  process: Process,
  onBatch: () => void,
): Drive => {
  /** A batch was refused, and the drive not yet reopened. */
  let isStuck = false
  let isReopening = false
  const refusal = (): Error =>
    new Error(health.isFull ? 'No space left on device' : 'the disk refused a write')
  const rowsOf = (table: Table): Map<string, Uint8Array> => content().tables.get(table) ?? new Map()

  /** Ends by `land` whole, or by `tear` as the crash or the refusal left it. */
  const write = (land: () => void, tear: () => void): Promise<void> =>
    new Promise((resolve, reject) => {
      let isOver = false
      process.died.then(() => {
        if (!isOver) tear()
        isOver = true
      }, undefined)
      // The disk writes on while its process stands still.
      scheduler.after(random.waitMs(health.writeMs), () => {
        if (isOver) return
        isOver = true
        if (health.isFull || health.isFailing || isStuck) {
          if (!isStuck) tear()
          isStuck = true
          health.isFailing = false
          process.take(() => reject(refusal()))
          return
        }
        land()
        process.take(resolve)
      })
    })

  const read = async <T>(answer: () => T): Promise<T> => {
    if (health.readMs > 0) await process.pause(random.below(health.readMs))
    if (isReopening) throw new Error('the drive is being reopened')
    return answer()
  }

  const landBatch = (operations: readonly RawOperation[]): void => {
    for (const operation of operations) {
      const { table, key } = operation
      if (operation.type === 'put') rowsOf(table).set(key, operation.value)
      else rowsOf(table).delete(key)
    }
    onBatch()
  }

  const landFile = ({ name, bytes }: BlobFile): void => void content().files.set(name, bytes)
  const tearFile = ({ name, bytes }: BlobFile): void => {
    const dice = random.below(3)
    if (dice === 0) landFile({ name, bytes })
    else if (dice === 1) landFile({ name, bytes: bytes.subarray(0, bytes.byteLength >> 1) })
  }

  return {
    batch: (operations) =>
      write(
        () => landBatch(operations),
        () => {
          if (random.chance(0.5)) landBatch(operations)
        },
      ),
    writeFiles: (files) =>
      write(
        () => files.forEach(landFile),
        () => files.forEach(tearFile),
      ),
    getMany: (rows) => read(() => rows.map(({ table, key }) => rowsOf(table).get(key))),
    page: (table, range) => read(() => pageOf(rowsOf(table), range)),
    textPage: (table, range) =>
      read(() =>
        pageOf(rowsOf(table), range).map(([key, value]) => [key, Buffer.from(value).toString()]),
      ),
    readFile: (name) => read(() => content().files.get(name)),
    async snapshot() {
      const kept = copyOf(content())
      return {
        page: async (table, range) => pageOf(kept.tables.get(table) ?? new Map(), range),
        close: async () => undefined,
      }
    },
    async removeFiles(names) {
      const { files } = content()
      const removed = names.map((name) => ({ name, bytes: files.get(name) }))
      for (const name of names) files.delete(name)
      // Not durable for a while: a crash can bring them back.
      let isForgotten = false
      scheduler.after(1_000, () => {
        isForgotten = true
      })
      process.died.then(() => {
        for (const { name, bytes } of isForgotten ? [] : removed) {
          if (bytes !== undefined && random.chance(0.5)) files.set(name, bytes)
        }
      }, undefined)
    },
    async *listFiles() {
      yield [...content().files.keys()]
    },
    compact: async () => undefined,
    async probe() {
      await process.pause(1)
      if (health.isFull) throw refusal()
    },
    async reopen() {
      isReopening = true
      await process.pause(random.waitMs(health.writeMs))
      if (health.isFull && random.chance(0.3)) throw refusal()
      isStuck = false
      isReopening = false
    },
    repair: () => Promise.reject(new Error('nothing here is beyond reading')),
    close: async () => undefined,
  }
}

export const createCoordinatorDisk = (deps: DiskDeps): CoordinatorDisk => {
  const { name, scheduler, history } = deps
  let content = emptyContent()
  const health: DiskHealth = { writeMs: 1, readMs: 0, isFailing: false, isFull: false }

  const open = async (process: Process): Promise<Store> => {
    /** Nothing of what is committed was decided before the batch before it began. */
    let sinceMs = scheduler.nowMs()
    let written: { readonly rows: readonly WrittenRow[]; readonly sinceMs: number } | null = null
    let landedMs = 0
    const onBatch = (): void => {
      if (written === null) return
      landedMs = scheduler.nowMs()
      history.record({ type: 'committed', coordinator: name, ...written })
      written = null
    }
    const drive = createDrive(deps, () => content, health, process, onBatch)
    const store = await createStore(drive, {
      pause: (ms) => process.pause(ms),
      onTrouble: () => undefined,
      inlineBytesMax: limits.inlineBodyBytesMax,
    })
    return {
      ...store,
      commit(operations) {
        written = { rows: operations.map(rowOf), sinceMs }
        sinceMs = scheduler.nowMs()
        const committed = store.commit(operations)
        // A drive may write a batch and refuse it, or a process stand still, and so hear of it late.
        const onHeard = (): void => {
          if (landedMs < scheduler.nowMs())
            history.record({ type: 'heard', coordinator: name, landedMs })
        }
        committed.then(onHeard, () => undefined)
        return committed
      },
    }
  }

  const rowKeys = (table: Table): string[] => [...(content.tables.get(table)?.keys() ?? [])]

  return {
    health,
    open,
    keys(table) {
      if (!isKind(table)) return rowKeys(table).sort()
      const inFiles = rowKeys('blob').filter((key) => key.startsWith(`${table}/`))
      return [...rowKeys(table), ...inFiles.map((key) => key.slice(table.length + 1))].sort()
    },
    value(sublevel, key) {
      const sealed = content.tables.get(sublevel)?.get(key)
      return sealed === undefined ? undefined : decodeRow(sealed, `${sublevel}/${key}`)
    },
    strayFiles: () => content.files.size - rowKeys('blob').length,
    copy: () => copyOf(content),
    restore(copy) {
      content = copyOf(copy)
    },
  }
}
