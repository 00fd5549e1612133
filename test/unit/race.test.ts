/** Which of several addresses is reached, and what becomes of the others. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reachFirst } from '../../protocol/mesh/race.ts'

const refused = (address: string): Promise<never> => Promise.reject(new Error(`${address} refused`))

const untilGivenUp = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

const signal = AbortSignal.timeout(60_000)

test('the best address alone is dialled where it answers', async () => {
  const dialled: string[] = []
  const dial = async (address: string): Promise<string> => {
    dialled.push(address)
    return address
  }
  const ways = { addresses: ['a', 'b'], dial, discard: () => undefined, find: null, signal }
  assert.equal(await reachFirst(ways), 'a')
  assert.deepEqual(dialled, ['a'])
})

test('one that says nothing holds up nobody, and is given up', async () => {
  let isGivenUp = false
  const dial = async (address: string, own: AbortSignal): Promise<string> => {
    if (address !== 'silent') return address
    await untilGivenUp(own).finally(() => {
      isGivenUp = true
    })
    return address
  }
  const ways = { addresses: ['silent', 'b'], dial, discard: () => undefined, find: null, signal }
  assert.equal(await reachFirst(ways), 'b')
  await new Promise(setImmediate)
  assert.ok(isGivenUp)
})

test('what is reached too late is handed back', async () => {
  const late = Promise.withResolvers<string>()
  const discarded = Promise.withResolvers<string>()
  const dial = (address: string): Promise<string> =>
    address === 'slow' ? late.promise : Promise.resolve(address)
  const discard = discarded.resolve
  const ways = { addresses: ['slow', 'b'], dial, discard, find: null, signal }
  assert.equal(await reachFirst(ways), 'b')
  late.resolve('slow')
  assert.equal(await discarded.promise, 'slow')
})

test('where all are refused it is over, with what each of them said', async () => {
  const ways = {
    addresses: ['a', 'b'],
    dial: refused,
    discard: () => undefined,
    find: null,
    signal,
  }
  await assert.rejects(reachFirst(ways), (error: AggregateError) => {
    assert.deepEqual(
      error.errors.map(({ message }: Error) => message),
      ['a refused', 'b refused'],
    )
    return true
  })
})

test('more addresses are looked for only where none of the known ones answers', async () => {
  let searches = 0
  const find = async (tell: (address: string) => void): Promise<void> => {
    searches += 1
    tell('found')
  }
  const dial = (address: string): Promise<string> =>
    address === 'known' ? refused(address) : Promise.resolve(address)
  const ways = { dial, discard: () => undefined, find, signal }
  assert.equal(await reachFirst({ ...ways, addresses: ['good'] }), 'good')
  assert.equal(searches, 0)
  assert.equal(await reachFirst({ ...ways, addresses: ['known'] }), 'found')
  assert.equal(await reachFirst({ ...ways, addresses: [] }), 'found')
  assert.equal(searches, 2)
})

test('one that is given up rejects with the reason', async () => {
  const giving = new AbortController()
  const dial = (_address: string, own: AbortSignal): Promise<string> => untilGivenUp(own)
  const ways = { addresses: ['a'], dial, discard: () => undefined, find: null }
  const reaching = reachFirst({ ...ways, signal: giving.signal })
  giving.abort(new Error('enough'))
  await assert.rejects(reaching, { message: 'enough' })
})
