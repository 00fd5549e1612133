/**
 * The live calls by id. A Map of a million strings is some five cache misses a look-up, which would
 * make an acceptance cost a third more than in an empty ledger; and it stops the world for a tenth of
 * a second when it grows. Here a look-up is two, and what grows is one shard (hash-table.ts), or a
 * plain list.
 */

import { assert } from '../../protocol/assert.ts'
import { createHasher, createHashTable } from '../hash-table.ts'

interface Identified {
  readonly id: string
}

export interface CallIndex<T extends Identified> {
  readonly size: number
  get(id: string): T | undefined
  has(id: string): boolean
  /** Of an id that is not there yet. */
  add(item: T): void
  delete(item: T): void
  /** In no order. Of an index that does not change meanwhile. */
  values(): Iterable<T>
}

export const createCallIndex = <T extends Identified>(): CallIndex<T> => {
  /** Without gaps: the last one takes the place of one that goes. */
  const items: T[] = []
  const places = createHashTable({ hasNumbers: true })
  // Ids are drawn by the coordinator: nobody chooses them.
  const hash = createHasher([])

  const get = (id: string): T | undefined => {
    const place = places.get(hash(id))
    const item = place === undefined ? undefined : items[place]
    return item?.id === id ? item : undefined
  }

  return {
    get size() {
      return items.length
    },
    get,
    has: (id) => get(id) !== undefined,
    add(item) {
      const name = hash(item.id)
      assert(places.get(name) === undefined, 'call ids are unique')
      places.set(name, items.length)
      items.push(item)
    },
    delete(item) {
      const name = hash(item.id)
      const place = places.get(name)
      assert(place !== undefined && items[place] === item, 'a call that ends is in the index')
      places.delete(name)
      const last = items.pop()
      if (last === undefined || last === item) return
      items[place] = last
      places.set(hash(last.id), place)
    },
    values: () => items.values(),
  }
}
