/** The client against the real gateway, so that both mean the same by the wire's words. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Client, createClient } from '../../client/client.ts'
import { finalAnswer } from '../support/fake-calls.ts'
import { TOKEN } from '../support/fake-ports.ts'
import { startTestGateway, until } from '../support/gateway.ts'

const textOf = async (answer: Awaited<ReturnType<Client['calls']['output']>>): Promise<string> => {
  assert.equal(answer.state, 'finished')
  return Buffer.concat(await answer.body.toArray()).toString()
}

test('functions, calls, outputs and status come through the real gateway', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const client = createClient({ endpoint: url, token: TOKEN })
  const func = await client.funcs.get('f')
  assert.deepEqual(
    (await client.funcs.list()).map(({ Name }) => Name),
    ['f'],
  )
  const id = await client.calls.start(func, { payload: Buffer.from('in') })
  assert.equal((await client.funcs.ofCall(id)).UUID, func.UUID)
  const early = await client.calls.output(func, id)
  assert.equal(early.state, 'waiting')
  assert.match(early.message, /waiting in the queue/)
  const waiting = client.calls.output(func, id, { wait: true })
  calls.end(finalAnswer(id, 'FINISHED', 'out', 0))
  assert.equal(await textOf(await waiting), 'out')
  assert.equal((await client.calls.status(func)).Total, 10)
  assert.equal((await client.calls.list(func))[0]?.CallId, id)
  await assert.rejects(client.calls.cancel(func, id), { code: 'CALL_FINAL' })
  await assert.rejects(client.funcs.get('none'), { code: 'FUNC_NOT_FOUND' })
})

test('a failed call is an answer with its code and exit code, an unknown one a refusal', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const client = createClient({ endpoint: url, token: TOKEN })
  const func = await client.funcs.get('f')
  const running = client.calls.run(func)
  await until(() => calls.requests.length === 1, 'the call')
  const [listed] = await client.calls.list(func)
  assert.ok(listed !== undefined)
  calls.end(finalAnswer(listed.CallId, 'CALL_EXITED', 'exited with 3: no disk', 3))
  const answer = await running
  assert.equal(answer.state, 'failed')
  assert.deepEqual([answer.error.code, answer.exitCode], ['CALL_EXITED', 3])
  assert.equal(answer.error.message, 'exited with 3: no disk')
  const unknown = '218b7b10-8a04-4d3c-8a44-0d2b6d1f6c5e'
  await assert.rejects(client.calls.output(func, unknown), { code: 'CALL_NOT_FOUND' })
})

test('the operator’s requests come through the real gateway', async (t) => {
  const { url } = await startTestGateway(t)
  const client = createClient({ endpoint: url, token: TOKEN })
  assert.equal((await client.overview()).Hyper.account, 'default')
  assert.equal((await client.version()).ApiVersion, '1.23')
  assert.ok((await client.accounts.list()).some(({ name }) => name === 'default'))
  assert.ok(Array.isArray(await client.agents.list()))
  assert.ok(Array.isArray(await client.images.list()))
  const stranger = createClient({ endpoint: url, token: 'wrong' })
  await assert.rejects(stranger.agents.list(), { code: 'UNAUTHORIZED' })
})
