/** `count` synchronous calls at concurrency 4: half echo a constant, half their own random input. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Context } from './deployment.ts'
import { callSync, createFunc } from './functions.ts'

const CONCURRENCY = 4
const inputBytes = 64 * 1024

export const checkEchoCalls = async (context: Context, count: number): Promise<void> => {
  const echo = await createFunc(context, 'echo-hello', 'ubuntu', ['echo', 'hello'])
  const cat = await createFunc(context, 'cat', 'ubuntu', ['cat'])
  let next = 0
  const seen = new Set<string>()
  const caller = async (): Promise<void> => {
    while (next < count) {
      const number = next
      next += 1
      const input = number % 2 === 0 ? '' : new Uint8Array(randomBytes(inputBytes))
      const answer = await callSync(context, number % 2 === 0 ? echo : cat, input)
      const body = Buffer.from(await answer.arrayBuffer())
      const expected = number % 2 === 0 ? Buffer.from('hello\n') : Buffer.from(input)
      assert.equal(answer.status, 200, `call ${number}: ${body.toString().slice(0, 200)}`)
      assert.ok(body.equals(expected), `call ${number} answered other bytes`)
      seen.add(answer.headers.get('x-hyper-call-id') ?? '')
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, caller))
  assert.equal(seen.size, count, 'every call has an id of its own')
}
