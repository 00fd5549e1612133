/**
 * What a store is made to hold while faults are done to it, step by step, and what it must hold after
 * any number of steps. A step is one transition, with its own number in `meta/step`: in turns a call
 * is accepted, one is ended, and an output is forgotten. Bodies are of any size, some of them files.
 * Everything follows from the seed, so whoever knows the last step knows every byte.
 */

import assert from 'node:assert/strict'
import { encodeCallRow } from '../../coordinator/call-row.ts'
import { rowKey } from '../../coordinator/rows.ts'
import {
  del,
  delBody,
  numberKey,
  type Operation,
  put,
  putBody,
  type Store,
  SUBLEVELS,
} from '../../coordinator/store/store.ts'
import { limits } from '../../protocol/limits.ts'
import { createRandom } from '../simulation/random.ts'
import { rowOf } from './cache-rows.ts'

const FUNC = 'f1'

/** How many calls later a call is ended, and its output forgotten. */
const CALLS_WAITING = 20
const OUTPUTS_KEPT = 60

const FILE_SHARE = 0.15
const FILE_BYTES_MAX = 8 * limits.inlineBodyBytesMax
const SMALL_BYTES_MAX = 2000

export interface Workload {
  operations(step: number): readonly Operation[]
}

export const createWorkload = (seed: number): Workload => {
  const randomOf = (seq: number, part: number) => createRandom(seed * 7919 + seq * 31 + part)
  const callId = (seq: number): string =>
    `call-${seq}-${randomOf(seq, 1)
      .below(2 ** 32)
      .toString(16)}`

  const bodyOf = (seq: number, part: number): Uint8Array => {
    const random = randomOf(seq, part)
    const isFile = random.chance(FILE_SHARE)
    const bytes = isFile
      ? random.between(limits.inlineBodyBytesMax + 1, FILE_BYTES_MAX)
      : random.below(SMALL_BYTES_MAX)
    return Buffer.alloc(bytes, `${part}/${seq}/${random.below(2 ** 32)} `)
  }

  const accept = (seq: number): readonly Operation[] => {
    const body = bodyOf(seq, 2)
    const row = { id: callId(seq), funcId: FUNC, revision: 1, acceptedMs: seq, trials: null }
    return [
      put('call', numberKey(seq), encodeCallRow({ ...row, payloadBytes: body.byteLength })),
      putBody('input', numberKey(seq), body),
    ]
  }

  const end = (seq: number): readonly Operation[] => {
    const [key, body] = [rowKey(FUNC, seq), bodyOf(seq, 3)]
    return [
      ...[del('call', numberKey(seq)), delBody('input', numberKey(seq))],
      put('history', key, { ...rowOf(FUNC, seq), id: callId(seq) }),
      put('callid', callId(seq), { funcId: FUNC, seq }),
      put('output', key, { bytes: body.byteLength, order: seq }),
      putBody('stdout', key, body),
    ]
  }

  const forget = (seq: number): readonly Operation[] => {
    const key = rowKey(FUNC, seq)
    return [
      ...[del('history', key), del('callid', callId(seq)), del('output', key)],
      delBody('stdout', key),
    ]
  }

  const transition = (seq: number, turn: number): readonly Operation[] => {
    if (turn === 1) return accept(seq)
    if (turn === 2) return seq > CALLS_WAITING ? end(seq - CALLS_WAITING) : []
    return seq > OUTPUTS_KEPT ? forget(seq - OUTPUTS_KEPT) : []
  }

  return {
    operations(step) {
      const seq = Math.ceil(step / 3)
      return [...transition(seq, step % 3), put('meta', 'step', step)]
    },
  }
}

export interface Contents {
  readonly rows: Map<string, unknown>
  readonly bodies: Map<string, Uint8Array>
}

const enter = ({ rows, bodies }: Contents, operation: Operation): void => {
  switch (operation.type) {
    case 'put':
      rows.set(`${operation.sublevel}/${operation.key}`, operation.value)
      break
    case 'del':
      rows.delete(`${operation.sublevel}/${operation.key}`)
      break
    case 'put-body':
      bodies.set(`${operation.kind}/${operation.key}`, operation.bytes)
      break
    case 'del-body':
      bodies.delete(`${operation.kind}/${operation.key}`)
      break
  }
}

/** What a store holds after each step. Steps are asked for in ascending order. */
export const createExpectation = (workload: Workload) => {
  const contents: Contents = { rows: new Map(), bodies: new Map() }
  let at = 0
  return (step: number): Contents => {
    assert.ok(step >= at, 'a store does not go back behind what was found in it before')
    for (; at < step; at += 1) {
      for (const operation of workload.operations(at + 1)) enter(contents, operation)
    }
    return contents
  }
}
export type Expectation = ReturnType<typeof createExpectation>

/** A start, and everything that is stored, as whoever asks for it is given it. */
export const readContents = async (store: Store): Promise<Contents> => {
  const rows = new Map<string, unknown>()
  for (const sublevel of SUBLEVELS) {
    await store.scan(sublevel, (key, value) => {
      if (sublevel !== 'meta' || key !== 'schema') rows.set(`${sublevel}/${key}`, value)
    })
  }
  await store.verify()
  const bodies = new Map<string, Uint8Array>()
  const snapshot = await store.snapshot()
  for await (const { kind, key, bytes } of snapshot.bodies()) bodies.set(`${kind}/${key}`, bytes)
  await snapshot.close()
  return { rows, bodies }
}

export const stepOf = ({ rows }: Contents): number => Number(rows.get('meta/step') ?? 0)

/**
 * Proves that what is stored is exactly what some whole number of steps leaves, none fewer than
 * `acknowledged`; gives that number.
 */
export const checkStore = async (
  store: Store,
  expectation: Expectation,
  acknowledged: number,
): Promise<number> => {
  const found = await readContents(store)
  const step = stepOf(found)
  assert.ok(step >= acknowledged, `step ${acknowledged} was acknowledged, ${step} was found`)
  const expected = expectation(step)
  assert.deepEqual(found.rows, expected.rows)
  assert.deepEqual([...found.bodies.keys()].sort(), [...expected.bodies.keys()].sort())
  for (const [name, bytes] of expected.bodies) {
    const isSame = Buffer.compare(found.bodies.get(name) ?? new Uint8Array(0), bytes) === 0
    assert.ok(isSame, `the body ${name} is not what was stored`)
  }
  return step
}
