/** The STDERR of a call on request: through gateway and core, and by `hyper func logs --stderr`. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { createClient, HyperError } from '../../client/client.ts'
import { limits } from '../../protocol/limits.ts'
import { startCoreGateway } from '../support/core-gateway.ts'
import { runHyper } from '../support/deployment.ts'
import { storedFunc, UUID } from '../support/fake-ports.ts'
import {
  STUB_CALL_ID,
  STUB_FUNC,
  sendError,
  sendJson,
  startGatewayStub,
} from '../support/gateway-stub.ts'

const UNKNOWN = '00000000-0000-4000-8000-000000000009'
const HOME = '/nonexistent/hyper-home'

const hasCode = (code: string) => (error: unknown) =>
  error instanceof HyperError && error.code === code

/** A function whose STDERR is its payload. */
const start = async (t: Parameters<typeof startCoreGateway>[0]) => {
  const way = await startCoreGateway(t, { run: ({ payload }) => ({ stderr: payload }) })
  const { calls } = createClient({ endpoint: way.url })
  const func = { Name: 'f', UUID }
  const stderrOf = async (callId: string): Promise<Buffer | string> => {
    const answer = await calls.stderr(func, callId)
    if (answer.state !== 'ended') return answer.state
    return Buffer.concat(await answer.body.toArray())
  }
  return { ...way, stderrOf }
}

test('all STDERR of a call comes byte for byte, as often as it is asked for', async (t) => {
  const { call, stderrOf, disk } = await start(t)
  const long = randomBytes(limits.stderrBytesMax)
  for (const stderr of [long, Buffer.from('a warning\n'), Buffer.alloc(0), Buffer.from([0xff])]) {
    const callId = await call(stderr)
    for (const _time of [1, 2]) assert.deepEqual(await stderrOf(callId), stderr)
  }
  assert.equal(disk.keys('stderr').length, 2, 'only what the line does not show is kept beside it')
})

test('a call that has not ended is 201 or 202, an unknown one 404, a rotated one 410', async (t) => {
  const way = await start(t)
  way.hold(true)
  const request = { stored: storedFunc(), payload: Buffer.alloc(9), environment: [], note: '' }
  const waiting = await way.core.calls.accept(request)
  assert.equal(await way.stderrOf(waiting), 'waiting')
  way.hold(false)
  await way.settled()
  assert.deepEqual(await way.stderrOf(waiting), Buffer.alloc(9))
  await assert.rejects(way.stderrOf(UNKNOWN), hasCode('CALL_NOT_FOUND'))
  const first = await way.call(Buffer.alloc(limits.stderrBytesMax, 1))
  assert.deepEqual(await way.stderrOf(first), Buffer.alloc(limits.stderrBytesMax, 1))
  for (let n = 0; n < 800; n += 1) await way.call(Buffer.alloc(limits.stderrBytesMax, 2))
  await assert.rejects(way.stderrOf(first), hasCode('STDERR_GONE'))
  assert.ok(way.core.caches.bytes('f1').logs <= limits.cacheBytesMax)
})

test('it is there after a restart, and goes with its function', async (t) => {
  const first = await start(t)
  const stderr = randomBytes(1000)
  const callId = await first.call(stderr)
  const way = await startCoreGateway(t, { disk: first.disk, epoch: 2 })
  const answer = await fetch(`${way.url}${way.logPath}?callid=${callId}&stderr=1`)
  assert.equal(answer.headers.get('content-type'), 'application/octet-stream')
  assert.deepEqual(Buffer.from(await answer.arrayBuffer()), stderr)
  await way.remove()
  assert.deepEqual(way.disk.keys('stderr'), [])
})

test('it is asked for one call alone', async (t) => {
  const way = await start(t)
  const callId = await way.call(Buffer.alloc(1))
  for (const query of ['stderr=1', `stderr=1&follow=1&callid=${callId}`, 'stderr=maybe']) {
    assert.equal((await fetch(`${way.url}${way.logPath}?${query}`)).status, 400, query)
  }
  const other = await fetch(`${way.url}/logs/f/${UNKNOWN}?stderr=1&callid=${callId}`)
  assert.equal(other.headers.get('x-hyper-error'), 'FUNC_NOT_FOUND')
})

test('hyper func logs --stderr writes the bytes to stdout and nothing else', async (t) => {
  const bytes = randomBytes(10_000)
  const stub = await startGatewayStub(({ path, query }, response) => {
    if (path.startsWith('/funcs/')) sendJson(response, STUB_FUNC)
    else if (query.get('stderr') !== '1') sendError(response, 400, 'BAD_PARAMETER', 'no')
    else if (query.get('callid') === STUB_CALL_ID) response.writeHead(200).end(bytes)
    else if (query.get('callid') === UNKNOWN) response.writeHead(202).end('waiting')
    else sendError(response, 410, 'STDERR_GONE', 'it has rotated out')
  })
  t.after(stub.close)
  const env = { HYPER_ENDPOINT: stub.endpoint, HYPER_TOKEN: 'secret' }
  const logs = (...args: string[]) => runHyper(['func', 'logs', ...args, 'hi'], { home: HOME, env })
  const whole = await logs('--stderr', '--callid', STUB_CALL_ID)
  assert.deepEqual([whole.code, whole.stdout, whole.stderr], [0, bytes, ''])
  const early = await logs('--stderr', '--callid', UNKNOWN)
  assert.deepEqual([early.code, early.stdout.length, early.stderr], [75, 0, 'waiting\n'])
  assert.equal((await logs('--stderr', '--callid', UUID)).code, 3)
  const wrong = await logs('--stderr')
  assert.deepEqual([wrong.code, wrong.stdout.length], [2, 0])
  assert.match(wrong.stderr, /--callid/)
})
