/**
 * What the writing process of a test writes (store-writer.ts), commit by commit, and the proof that
 * what is found later is that: nothing less than was acknowledged, nothing half.
 *
 * Commit n brings a call, its lease and its small input, with every fifth a large body; it takes those
 * of n − 100 away, and notes n as the last.
 */

import assert from 'node:assert/strict'
import {
  del,
  delBody,
  type Operation,
  put,
  putBody,
  type Store,
  SUBLEVELS,
} from '../../coordinator/store.ts'
import { limits } from '../../protocol/limits.ts'

const KEPT = 100
const LARGE_EVERY = 5

const small = (n: number): Uint8Array => new Uint8Array(100).fill(n % 251)
const large = (n: number): Uint8Array =>
  new Uint8Array(limits.inlineBodyBytesMax + 1000).fill(n % 251)

export const operationsOf = (n: number): Operation[] => {
  const gone = n - KEPT
  return [
    put('call', `${n}`, n),
    put('lease', `${n}`, 2 * n),
    putBody('input', `${n}`, small(n)),
    ...(n % LARGE_EVERY === 0 ? [putBody('stdout', `f/${n}`, large(n))] : []),
    ...[del('call', `${gone}`), del('lease', `${gone}`), delBody('input', `${gone}`)],
    ...(gone % LARGE_EVERY === 0 ? [delBody('stdout', `f/${gone}`)] : []),
    put('meta', 'last', n),
  ]
}

/** Throws unless the store proves itself and holds exactly what the commits up to its last one left. */
export const checkWritten = async (store: Store, acknowledged: number): Promise<number> => {
  for (const sublevel of SUBLEVELS) {
    for await (const _row of store.scan(sublevel));
  }
  await store.verify()
  const last = Number((await store.get('meta', 'last')) ?? 0)
  assert.ok(last >= acknowledged, `commit ${acknowledged} was acknowledged, ${last} is the last`)
  for (let n = Math.max(1, last - KEPT - 5); n <= last + 5; n += 1) {
    const isThere = n > last - KEPT && n <= last
    assert.equal(await store.get('call', `${n}`), isThere ? n : undefined)
    assert.equal(await store.get('lease', `${n}`), isThere ? 2 * n : undefined)
    assert.deepEqual(await store.body('input', `${n}`), isThere ? small(n) : undefined)
    const hasLarge = isThere && n % LARGE_EVERY === 0
    assert.deepEqual(await store.body('stdout', `f/${n}`), hasLarge ? large(n) : undefined)
  }
  return last
}
