import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ErrorCode } from '../../protocol/errors.ts'
import { finalAnswer } from '../support/fake-calls.ts'
import { UUID } from '../support/fake-ports.ts'
import { startTestGateway, until } from '../support/gateway.ts'

const path = (callId: string): string => `/output/f/${UUID}/${callId}`

test('every final state has its status, headers and text', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const table: [ErrorCode, number, string, number | null][] = [
    ['FINISHED', 200, 'output', 0],
    ['CALL_EXITED', 500, 'exit code 3: boom', 3],
    ['IMAGE_NOT_FOUND', 500, 'no such image: x', null],
    ['CALL_TIMED_OUT', 504, 'ran past its timeout', null],
    ['OUTPUT_TOO_LARGE', 509, 'STDOUT went over 1 MB', null],
  ]
  for (const [code, status, text, exitCode] of table) {
    const callId = calls.add('running')
    calls.end({ ...finalAnswer(callId, code, text, exitCode), httpStatus: status })
    for (const wait of ['', '/wait']) {
      const answer = await fetch(`${url}${path(callId)}${wait}`)
      assert.equal(answer.status, status)
      assert.equal(await answer.text(), text)
      assert.equal(answer.headers.get('content-length'), String(text.length))
      assert.equal(answer.headers.get('x-hyper-call-id'), callId)
      assert.equal(answer.headers.get('x-hyper-attempt'), '1')
      assert.equal(answer.headers.get('x-hyper-reason'), code)
      assert.equal(answer.headers.get('x-hyper-error'), status === 200 ? null : code)
      assert.equal(
        answer.headers.get('x-hyper-exit-code'),
        exitCode === null ? null : String(exitCode),
      )
    }
  }
  await until(() => calls.deliveries.length === 2 * table.length, 'the deliveries')
  assert.ok(calls.deliveries.every((line) => line.startsWith('delivered ')))
})

test('a call that has not ended is 201 or 202 with one line', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const get = async (callId: string) => {
    const answer = await fetch(`${url}${path(callId)}`)
    return `${answer.status} ${await answer.text()}`
  }
  assert.equal(await get(calls.add('running')), '201 still running')
  assert.equal(await get(calls.add('pending', 3)), '202 waiting in the queue: 3 calls before it')
  assert.equal(await get(calls.add('leased')), '202 waiting in the queue: no call before it')
  assert.deepEqual(calls.deliveries, [])
})

test('an output that is gone is 410 and an unknown call is 404', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const callId = calls.add('running')
  calls.end({ ...finalAnswer(callId, 'FINISHED'), httpStatus: 410 })
  const gone = await fetch(`${url}${path(callId)}`)
  assert.equal(gone.status, 410)
  assert.equal(gone.headers.get('x-hyper-reason'), 'OUTPUT_GONE')
  assert.match(await gone.text(), /fetched or rotated out/)
  for (const unknown of [UUID, 'nonsense']) {
    for (const wait of ['', '/wait']) {
      const answer = await fetch(`${url}${path(unknown)}${wait}`)
      assert.equal(answer.status, 404)
      assert.equal(answer.headers.get('x-hyper-error'), 'CALL_NOT_FOUND')
    }
  }
  assert.deepEqual(calls.deliveries, [])
})

test('a client that asks for JSON gets the reason of a failure as JSON', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const callId = calls.add('running')
  calls.end(finalAnswer(callId, 'CALL_EXITED', 'boom', 1))
  const answer = await fetch(`${url}${path(callId)}`, { headers: { accept: 'application/json' } })
  assert.equal(answer.status, 500)
  const body: unknown = await answer.json()
  assert.deepEqual(body, { message: 'boom', code: 'CALL_EXITED' })
})

test('a wait is held until the end', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const callId = calls.add('pending')
  const answered = fetch(`${url}${path(callId)}/wait`)
  setImmediate(() => calls.end(finalAnswer(callId, 'FINISHED', 'done')))
  assert.equal(await (await answered).text(), 'done')
})

test('a delivery that breaks off is not a delivery', async (t) => {
  const { open, calls } = await startTestGateway(t)
  const callId = calls.add('running')
  // More than the kernel's buffers take for a client that does not read.
  calls.end(finalAnswer(callId, 'FINISHED', Buffer.alloc(32 * 1024 * 1024)))
  const { socket, send, chunks } = await open()
  send(`GET ${path(callId)} HTTP/1.1`, 'Host: h', '', '')
  await until(() => chunks.length > 0, 'the first bytes')
  socket.pause()
  socket.destroy()
  await until(() => calls.deliveries.length > 0, 'the end of the delivery')
  assert.deepEqual(calls.deliveries, [`undelivered ${callId}`])
})

test('a delivery that the gateway cuts off at its end is not a delivery', async (t) => {
  const { open, calls, gateway } = await startTestGateway(t)
  const callId = calls.add('running')
  calls.end(finalAnswer(callId, 'FINISHED', Buffer.alloc(32 * 1024 * 1024)))
  const { socket, send, chunks } = await open()
  send(`GET ${path(callId)} HTTP/1.1`, 'Host: h', '', '')
  await until(() => chunks.length > 0, 'the first bytes')
  socket.pause()
  await gateway.close(0)
  await until(() => calls.deliveries.length > 0, 'the end of the delivery')
  assert.deepEqual(calls.deliveries, [`undelivered ${callId}`])
})

test('pipelined requests are answered in order on one connection', async (t) => {
  const { open, calls } = await startTestGateway(t)
  const ids = [calls.add('running'), calls.add('running')]
  const { send, heard, waitFor } = await open()
  for (const id of ids) send(`GET ${path(id)}/wait HTTP/1.1`, 'Host: h', '', '')
  send('GET /healthz HTTP/1.1', 'Host: localhost', '', '')
  for (const id of [...ids].reverse()) calls.end(finalAnswer(id, 'FINISHED', `<${id}>`))
  await waitFor('ok')
  const [first = '', second = ''] = ids
  assert.ok(heard().indexOf(`<${first}>`) < heard().indexOf(`<${second}>`))
  await until(() => calls.deliveries.length === 2, 'the deliveries')
  assert.deepEqual(
    calls.deliveries,
    ids.map((id) => `delivered ${id}`),
  )
})

test('pipelined answers that never had their turn are not deliveries', async (t) => {
  const { open, calls } = await startTestGateway(t)
  const [first, second] = [calls.add('running'), calls.add('running')]
  calls.end(finalAnswer(second, 'FINISHED', 'x'))
  const { send, socket } = await open()
  for (const id of [first, second]) send(`GET ${path(id)}/wait HTTP/1.1`, 'Host: h', '', '')
  // The first one waits; the connection ends before the second one can go out.
  await until(() => calls.waited.includes(second), 'the second answer')
  await new Promise((resolve) => setImmediate(resolve))
  socket.destroy()
  await until(() => calls.deliveries.length > 0, 'the end of the delivery')
  assert.deepEqual(calls.deliveries, [`undelivered ${second}`])
})

test('a cancel is 202, and 409 for a call that has ended', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const callId = calls.add('running')
  const cancel = () => fetch(`${url}${path(callId)}`, { method: 'DELETE' })
  assert.equal((await cancel()).status, 202)
  assert.equal((await cancel()).status, 409)
})

test('status counts calls, and lists them when asked', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const get = async (query: string) => {
    const answer = await fetch(`${url}/status/f/${UUID}${query}`)
    return { status: answer.status, body: answer.ok ? await answer.json() : null }
  }
  const counts = { Total: 10, Pending: 1, Running: 2, Finished: 3, Failed: 4 }
  assert.deepEqual((await get('')).body, counts)
  const callId = calls.add('running')
  calls.add('running')
  const Created = '2017-03-16T07:05:24.473Z'
  assert.deepEqual((await get('?list=1&limit=1')).body, {
    ...counts,
    List: [{ CallId: callId, Created, Status: 'FINISHED', Message: null }],
  })
  for (const query of [
    '?limit=0',
    '?limit=1001',
    '?list=1&before=x',
    '?list=a',
    '?list=1&list=1',
  ]) {
    assert.equal((await get(query)).status, 400, query)
  }
})
