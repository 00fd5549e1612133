/** Runtimes by name that are started without the engine: with what words, and for how long. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDirectRuntimes } from '../../agent/runner/oci/direct-runtimes.ts'

type Words = readonly [string, ...string[]]

const createBench = (words: Words) => {
  const state: { runtimeWords: Record<string, Words> } = { runtimeWords: { mine: words } }
  return { state, runtimes: createDirectRuntimes(() => state) }
}
const RUNSC = ['/usr/bin/runsc', '--network=none'] as const

test('one that ran a container is started so, with the words that it was tried with', async () => {
  const { runtimes } = createBench(RUNSC)
  assert.equal(runtimes.has('mine'), false)
  await runtimes.try('mine', async () => {
    assert.deepEqual(runtimes.wordsOf('mine'), RUNSC, 'while it is tried, too')
    assert.equal(runtimes.has('mine'), false)
  })
  assert.equal(runtimes.has('mine'), true)
  assert.deepEqual(runtimes.wordsOf('mine'), RUNSC)
})

test('one whose trial failed is the engine’s', async () => {
  const { runtimes } = createBench(RUNSC)
  await assert.rejects(
    runtimes.try('mine', () => Promise.reject(new Error('no luck'))),
    /no luck/,
  )
  assert.equal(runtimes.has('mine'), false)
  assert.throws(() => runtimes.wordsOf('mine'), /engine alone/)
})

test('one whose words changed, or that the engine has no more, is the engine’s', async () => {
  const { runtimes, state } = createBench(RUNSC)
  await runtimes.try('mine', async () => undefined)
  state.runtimeWords = { mine: [...RUNSC, '--platform=kvm'] }
  assert.equal(runtimes.has('mine'), false)
  assert.deepEqual(runtimes.wordsOf('mine'), RUNSC, 'for a start that was begun before')
  state.runtimeWords = {}
  assert.equal(runtimes.has('mine'), false)
  state.runtimeWords = { mine: RUNSC }
  assert.equal(runtimes.has('mine'), true)
})
