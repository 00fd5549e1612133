/** Invariants of what functions keep, as the coordinators' disks show it: their caches, and that all goes with them. */

import { limits } from '../../protocol/limits.ts'
import { callFactsOf, type DiskState, type Evidence, Violation } from './evidence.ts'
import type { WrittenRow } from './history.ts'

const funcOf = (key: string): string => key.slice(0, key.indexOf('/'))

/** The cache of each function has a body for every entry, and is never larger than its bound. */
const cacheIsBounded = ({ replay }: Evidence): void =>
  replay({
    batch(disk, { atMs, rows }) {
      if (!rows.some(({ table }) => table === 'output' || table === 'stdout')) return
      const bytes = new Map<string, number>()
      for (const [key, size] of disk.outputs) {
        const [length = ''] = (disk.bodies.get(key) ?? '').split(':')
        if (length !== `${size}`)
          throw new Violation(`the body of ${key} is not as its entry`, atMs)
        const counted = Math.max(size, limits.cacheEntryBytesMin)
        bytes.set(funcOf(key), (bytes.get(funcOf(key)) ?? 0) + counted)
      }
      for (const key of disk.bodies.keys()) {
        if (!disk.outputs.has(key)) throw new Violation(`a body without an entry: ${key}`, atMs)
      }
      for (const [funcId, sum] of bytes) {
        if (sum > limits.cacheBytesMax)
          throw new Violation(`the cache of ${funcId} is ${sum}`, atMs)
      }
    },
  })

/** A body leaves the cache after its delivery, or as the oldest of a full cache, or with its function. */
const onlyOldestRotates = ({ replay }: Evidence): void => {
  const isRotation = (row: WrittenRow): boolean => row.type === 'del' && row.table === 'output'
  replay({
    row(row, disk, { atMs }) {
      if (!isRotation(row) || disk.fetched.has(row.key)) return
      const funcId = funcOf(row.key)
      if (disk.leaving.has(funcId)) return
      const own = [...disk.outputs.keys()].filter((key) => funcOf(key) === funcId)
      const [oldest] = own
      if (oldest !== row.key) throw new Violation(`${row.key} was rotated before ${oldest}`, atMs)
      const sum = [...disk.outputs]
        .filter(([key]) => funcOf(key) === funcId)
        .reduce((all, [, size]) => all + Math.max(size, limits.cacheEntryBytesMin), 0)
      if (sum + limits.stdoutBytesMax < limits.cacheBytesMax) {
        throw new Violation(`${row.key} was rotated out of a cache of ${sum} bytes`, atMs)
      }
    },
  })
}

/** A function whose removal has begun takes no call any more, and nothing of it is left in the end. */
const leavingIsGone = ({ replay, isEnding, observations }: Evidence): void => {
  let last: DiskState | null = null
  replay({
    row(row, disk, { atMs }) {
      if (row.type !== 'put' || row.table !== 'call') return
      const { id, funcId } = callFactsOf(row)
      if (disk.calls.has(id) || !disk.leaving.has(funcId)) return
      throw new Violation(`${id} was accepted after the removal of its function`, atMs)
    },
    batch(disk) {
      last = disk
    },
  })
  if (isEnding && last !== null) checkLeft(last, observations.at(-1)?.atMs ?? 0)
}

const checkLeft = ({ leaving, calls, history }: DiskState, atMs: number): void => {
  for (const { id, funcId } of calls.values()) {
    if (leaving.has(funcId)) throw new Violation(`${id} was left by the removal`, atMs)
  }
  for (const key of history.keys()) {
    if (leaving.has(funcOf(key)))
      throw new Violation(`history ${key} was left by the removal`, atMs)
  }
}

export const CACHE_INVARIANTS = {
  'invariant 7 (cache)': cacheIsBounded,
  'invariant 7 (rotation)': onlyOldestRotates,
  'functions that leave': leavingIsGone,
} as const
