/**
 * A small state folder as a coordinator leaves it after some starts: tables of one and of several
 * blocks, some of them compacted, a log, bodies. And what is in it, to be held against what a folder
 * with a rotten byte still gives.
 */

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { encodeCallRow } from '../../coordinator/call-row.ts'
import { rowKey } from '../../coordinator/rows.ts'
import {
  del,
  numberKey,
  type Operation,
  openStore,
  put,
  putBody,
} from '../../coordinator/store/store.ts'
import { limits } from '../../protocol/limits.ts'
import { putLine, rowOf } from './cache-rows.ts'
import { type Contents, readContents } from './store-workload.ts'

const STARTS = 7
const CALLS = 4

/** Text that does not become shorter in LevelDB's files. */
const noise = (seed: string, times: number): string =>
  Array.from({ length: times }, (_, n) =>
    createHash('sha256').update(`${seed} ${n}`).digest('base64'),
  ).join('')

const waiting = (seq: number): readonly Operation[] => {
  const body = Buffer.from(noise(`input ${seq}`, 12))
  const row = { id: `call-${seq}`, funcId: 'f1', revision: 1, acceptedMs: seq, trials: null }
  return [
    put('call', numberKey(seq), encodeCallRow({ ...row, payloadBytes: body.byteLength })),
    putBody('input', numberKey(seq), body),
  ]
}

const ended = (seq: number, bytes: number): readonly Operation[] => {
  const key = rowKey('f1', seq)
  const body = Buffer.from(noise(`stdout ${seq}`, Math.ceil(bytes / 44)))
  return [
    put('history', key, rowOf('f1', seq)),
    put('callid', `call-${seq}`, { funcId: 'f1', seq }),
    put('output', key, { bytes: body.byteLength, order: seq }),
    putBody('stdout', key, body),
    putLine('f1', seq, noise(`log ${seq}`, 3)),
  ]
}

/** The ledger's folder has all but one body, which is a file. */
export const makeRotStore = async (folder: string): Promise<void> => {
  for (let start = 0; start < STARTS; start += 1) {
    const store = await openStore(folder)
    await readContents(store)
    for (let call = 1; call <= CALLS; call += 1) {
      const seq = start * 2 * CALLS + 2 * call
      const isFile = start === 0 && call === 1
      await store.commit([
        ...waiting(seq),
        ...ended(seq + 1, isFile ? limits.inlineBodyBytesMax + 1 : 400),
        put('meta', 'seq', seq + 1),
        put('lease', `l-${start}-${call}`, { seq }),
        ...(start > 0 ? [del('lease', `l-${start - 1}-${call}`)] : []),
      ])
    }
    await store.close()
  }
}

export const ledgerOf = (folder: string): string => join(folder, 'ledger')

/** All rows and bodies, by name, as text. */
export const namesOf = ({ rows, bodies }: Contents): ReadonlyMap<string, string> =>
  new Map([
    ...[...rows].map(([name, value]) => [name, JSON.stringify(value)] as const),
    ...[...bodies].map(([name, bytes]) => [name, Buffer.from(bytes).toString()] as const),
  ])
