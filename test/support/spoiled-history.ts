/**
 * A history in which all is well, spoiled in one place for each promise that is checked in it: the check
 * must see every one, else that it saw nothing says nothing.
 */

import assert from 'node:assert/strict'
import type { Observation, WrittenRow } from '../simulation/history.ts'
import { checkRealHistory } from './real-history.ts'

type History = readonly Observation[]
type Batch = Extract<Observation, { type: 'committed' }>

const isPut =
  (table: string) =>
  (row: WrittenRow): boolean =>
    row.type === 'put' && row.table === table

/** The rows of every batch, as they are changed to. */
const rewrite = (history: History, change: (rows: Batch['rows'], batch: Batch) => Batch['rows']) =>
  history.map((one) => (one.type === 'committed' ? { ...one, rows: change(one.rows, one) } : one))

const batchWith = (history: History, table: string): Batch => {
  const found = history.find(
    (one): one is Batch => one.type === 'committed' && one.rows.some(isPut(table)),
  )
  assert.ok(found !== undefined, `something was written to ${table}`)
  return found
}

/** One row of the first batch that has one is missing. */
const without = (history: History, table: string): History => {
  const batch = batchWith(history, table)
  const row = batch.rows.find(isPut(table))
  return rewrite(history, (rows, of) => (of === batch ? rows.filter((one) => one !== row) : rows))
}

/** A batch is written a second time, at the end. */
const twice = (history: History, table: string): History => {
  const batch = batchWith(history, table)
  const rows = batch.rows.filter(isPut(table))
  const atMs = after(history)
  return [...history, { ...batch, rows, sinceMs: atMs, atMs }]
}

const after = (history: History): number => Math.max(...history.map(({ atMs }) => atMs)) + 1

const SPOILS: readonly (readonly [broken: string, spoil: (history: History) => History])[] = [
  ['invariant 1 (one final state)', (history) => without(history, 'history')],
  ['invariant 1 (one final state)', (history) => twice(history, 'history')],
  [
    'promise 1 (accepted is durable)',
    (history) => {
      const accepted = history.find(({ type }) => type === 'accepted')
      assert.ok(accepted !== undefined, 'a call was accepted')
      return history.map((one) => (one === accepted ? { ...one, atMs: 0 } : one))
    },
  ],
  [
    'invariant 3 (quota)',
    (history) =>
      rewrite(history, (rows) =>
        rows.filter(({ type, table }) => type !== 'del' || table !== 'lease'),
      ),
  ],
  [
    'invariant 8 (status)',
    (history) => {
      const end = history.find((one) => one.type === 'seen' && one.status === 200)
      assert.ok(end?.type === 'seen', 'a call was seen to end')
      const atMs = after(history)
      return [...history, { ...end, status: 202, askedMs: atMs, atMs }]
    },
  ],
]

/** Throws where one of them is not seen, or is taken for another. */
export const checkTheCheck = (history: History): void => {
  for (const [name, spoil] of SPOILS) {
    assert.throws(
      () => checkRealHistory(spoil(history)),
      (error: Error) => error.message.startsWith(`${name} is broken`),
      name,
    )
  }
}
