import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Lane, laneOf } from '../../protocol/lane.ts'
import { createWaiting } from '../../protocol/mesh/waiting.ts'
import type { AgentMessage, CoordinatorMessage } from '../../protocol/messages.ts'
import { makeResult } from '../support/ledger-words.ts'

type Message = AgentMessage | CoordinatorMessage

const keyOf = (attempt: number) => ({
  ...{ call: '01234567-89ab-4def-8123-456789abcdef', attempt, epoch: 1 },
})
const session = 1
const epoch = 1
const one = keyOf(1)
const two = keyOf(2)
const result = (key: typeof one): Message => ({
  ...{ type: 'result', session, key, result: makeResult(key, 'FINISHED') },
})
const gone = (key: typeof one): Message => ({ type: 'gone', session, key })
const heartbeat: Message = { type: 'heartbeat', session, attempts: [] }
const leave: Message = { type: 'leave', session }

const order = <T>(laneOfOne: (message: T) => Lane, messages: readonly T[]): T[] => {
  const waiting = createWaiting<T>(laneOfOne)
  const nothing = { resolve: () => undefined, reject: () => undefined }
  for (const message of messages) waiting.push({ message, ...nothing })
  const taken: T[] = []
  while (waiting.size() > 0) {
    const next = waiting.shift()
    if (next !== undefined) taken.push(next.message)
  }
  return taken
}

test('small messages go before bulk, and each lane keeps its order', () => {
  assert.deepEqual(order(laneOf, [result(one), heartbeat, result(two), gone(keyOf(3))]), [
    ...[heartbeat, gone(keyOf(3)), result(one), result(two)],
  ])
})

test('what is about an attempt stays behind the bulk of that attempt', () => {
  assert.deepEqual(order(laneOf, [result(one), result(two), gone(two), gone(one), heartbeat]), [
    ...[heartbeat, result(one), result(two), gone(two), gone(one)],
  ])
  const cancel: Message = { type: 'cancel', session, epoch, key: one }
  const byWord = (message: string): Lane => ({
    isBulk: message.startsWith('assign'),
    about: message.slice(-1),
  })
  assert.deepEqual(laneOf(cancel), { isBulk: false, about: laneOf(result(one)).about })
  assert.deepEqual(order(byWord, ['assign 1', 'cancel 1', 'cancel 2', 'acknowledge 1']), [
    ...['cancel 2', 'assign 1', 'cancel 1', 'acknowledge 1'],
  ])
  // Once it is sent nothing waits for it any more.
  const waiting = createWaiting(byWord)
  const nothing = { resolve: () => undefined, reject: () => undefined }
  waiting.push({ message: 'assign 1', ...nothing })
  waiting.shift()
  waiting.push({ message: 'assign 2', ...nothing })
  waiting.push({ message: 'cancel 1', ...nothing })
  assert.equal(waiting.shift()?.message, 'cancel 1')
})

test('a leave is the last word, whatever waits', () => {
  assert.deepEqual(order(laneOf, [result(one), leave, heartbeat]), [heartbeat, result(one), leave])
})
