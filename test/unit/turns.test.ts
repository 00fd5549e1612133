/** Who may begin when only a few may at a time. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTurns } from '../../protocol/mesh/turns.ts'
import { eventually } from '../support/eventually.ts'

const options = {
  ...{ atOnce: 2, turnMs: 60_000, waitingMax: 100, againMs: 10 },
  mayBegin: (_address: string) => true,
}

/** Names in the order in which they began, or were over without. */
const watch = (more: Partial<typeof options> = {}) => {
  const begun: string[] = []
  const crowdedOut: string[] = []
  const turns = createTurns<string>({
    ...{ ...options, ...more },
    onCrowdedOut: (one, address) => void crowdedOut.push(`${one} of ${address}`),
  })
  const settled = () => new Promise(setImmediate)
  return {
    ...{ begun, crowdedOut },
    async come(name: string, address = 'a'): Promise<void> {
      turns
        .begin(name, address)
        .then(() => begun.push(name))
        .catch(assert.ifError)
      await settled()
    },
    async end(name: string): Promise<void> {
      turns.end(name)
      await settled()
    },
  }
}

test('no more than so many are under way, and each that ends lets in one', async () => {
  const { come, end, begun } = watch()
  for (const name of ['1', '2', '3', '4']) await come(name)
  assert.deepEqual(begun, ['1', '2'])
  await end('1')
  assert.equal(begun.length, 3)
  await end('1')
  assert.equal(begun.length, 3, 'it ended once')
})

test('of one address the last to come is the first to be served', async () => {
  const { come, end, begun } = watch({ atOnce: 1 })
  for (const name of ['1', '2', '3', '4']) await come(name)
  for (const name of ['1', '4', '3']) await end(name)
  assert.deepEqual(begun, ['1', '4', '3', '2'])
})

test('a crowd at one address holds up nobody at another', async () => {
  const { come, end, begun } = watch({ atOnce: 1 })
  for (const name of ['1', '2', '3', '4', '5']) await come(name, 'crowd')
  await come('guest', 'home')
  await end('1')
  await end('5')
  assert.deepEqual(begun, ['1', '5', 'guest'])
  await end('guest')
  assert.deepEqual(begun, ['1', '5', 'guest', '4'], 'the crowd goes on')
})

test('one that has gone meanwhile takes no turn', async () => {
  const { come, end, begun } = watch({ atOnce: 1 })
  for (const name of ['1', '2', '3']) await come(name)
  await end('3')
  await end('1')
  assert.deepEqual(begun, ['1', '3', '2'], 'who waited for it is told, and finds it gone')
  await end('2')
  await come('4')
  assert.equal(begun.at(-1), '4')
})

test('one that takes too long does not keep the next from beginning', async () => {
  const { come, begun } = watch({ atOnce: 1, turnMs: 5 })
  await come('slow')
  await come('next')
  await eventually(() => begun.length === 2)
  assert.deepEqual(begun, ['slow', 'next'])
})

test('an address that may not begin waits until it may, and others do not wait for it', async () => {
  let may = false
  const { come, begun } = watch({ mayBegin: (address) => address !== 'held' || may })
  await come('1', 'held')
  await come('2', 'free')
  assert.deepEqual(begun, ['2'])
  may = true
  await eventually(() => begun.length === 2)
  assert.deepEqual(begun, ['2', '1'])
})

test('when too many wait, the oldest of the most crowded address goes', async () => {
  const { come, end, begun, crowdedOut } = watch({ atOnce: 1, waitingMax: 3 })
  await come('1', 'home')
  for (const name of ['2', '3']) await come(name, 'crowd')
  for (const name of ['4', '5']) await come(name, 'home')
  assert.deepEqual(crowdedOut, ['2 of crowd'])
  for (const name of ['6', '7']) await come(name, 'crowd')
  assert.deepEqual(crowdedOut, ['2 of crowd', '4 of home', '3 of crowd'])
  begun.splice(0)
  for (const name of ['1', '7', '5']) await end(name)
  assert.deepEqual(begun, ['7', '5', '6'])
})

test('thousands that come and go leave nothing behind', async () => {
  const { come, end, begun } = watch({ atOnce: 1, waitingMax: 10_000 })
  await come('first')
  for (let n = 0; n < 2000; n += 1) {
    await come(`${n}`)
    if (n % 10 !== 0) await end(`${n}`)
  }
  const gone = begun.length
  for (let last = 'first'; begun.length < 2001; last = begun.at(-1) ?? '') await end(last)
  assert.equal(gone, 1801)
  assert.equal(new Set(begun).size, 2001)
})
