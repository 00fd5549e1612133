import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HyperError } from '../../protocol/errors.ts'
import { eventually } from '../support/eventually.ts'
import { finalAnswer } from '../support/fake-calls.ts'
import { createFakePorts, storedFunc, UUID } from '../support/fake-ports.ts'
import { CALL_PATH, startTestGateway, until } from '../support/gateway.ts'

const MiB = 1_048_576

test('an asynchronous call is answered with its CallId once it is accepted', async (t) => {
  const { url, calls } = await startTestGateway(t)
  for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
    const answer = await fetch(`${url}${CALL_PATH}?q=1`, { method })
    assert.equal(answer.status, 200)
    const body: unknown = await answer.json()
    assert.deepEqual(body, { CallId: answer.headers.get('x-hyper-call-id') })
  }
  assert.deepEqual(
    calls.requests.map(({ environment }) => environment.find((e) => e.startsWith('REQUEST_M'))),
    ['GET', 'POST', 'PUT', 'DELETE'].map((method) => `REQUEST_METHOD=${method}`),
  )
})

test('the body is passed on byte for byte, whatever it says of itself', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const body = Buffer.from([0, 255, 13, 10, 128, 31, 139])
  for (const type of ['not a type', 'application/json', 'text/plain; charset', '']) {
    const headers = { 'content-type': type, 'content-encoding': 'gzip' }
    const answer = await fetch(`${url}${CALL_PATH}`, { method: 'POST', body, headers })
    assert.equal(answer.status, 200, type)
  }
  assert.ok(calls.requests.every(({ payload }) => body.equals(payload)))
  const environment = calls.requests[0]?.environment ?? []
  for (const entry of [
    'CONTENT_TYPE=not a type',
    'CONTENT_LENGTH=7',
    'HTTP_CONTENT_ENCODING=gzip',
    'MODE=own',
    'QUERY_STRING=',
  ]) {
    assert.ok(environment.includes(entry), entry)
  }
})

test('headers keep their bytes, and a chunked body gets its length', async (t) => {
  const { open, calls } = await startTestGateway(t)
  const { socket, waitFor } = await open()
  socket.write(`POST ${CALL_PATH}?x=%41&y HTTP/1.1\r\nHost: h\r\nX-Name: Zoë\r\nFoo_Bar: 1\r\n`)
  socket.write('Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n')
  await waitFor('CallId"')
  const [request] = calls.requests
  assert.equal(Buffer.from(request?.payload ?? []).toString(), 'abcde')
  for (const entry of ['HTTP_X_NAME=Zoë', 'CONTENT_LENGTH=5', 'QUERY_STRING=x=%41&y']) {
    assert.ok(request?.environment.includes(entry), entry)
  }
  assert.equal(request?.note, 'dropped headers: "Foo_Bar"')
})

test('a GET can have a body', async (t) => {
  const { open, calls } = await startTestGateway(t)
  const { send, waitFor } = await open()
  send(`GET ${CALL_PATH} HTTP/1.1`, 'Host: h', 'Content-Length: 3', '', 'abc')
  await waitFor('CallId"')
  assert.equal(Buffer.from(calls.requests[0]?.payload ?? []).toString(), 'abc')
})

test('1,048,576 bytes are taken and one more is refused, with a length and chunked', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const chunked = (size: number): ReadableStream<Uint8Array> =>
    new Blob([new Uint8Array(size)]).stream()
  const statusOf = async (body: Uint8Array<ArrayBuffer> | ReadableStream): Promise<number> => {
    const init = { method: 'POST', body, duplex: 'half' }
    const answer = await fetch(`${url}${CALL_PATH}`, init)
    await answer.arrayBuffer()
    return answer.status
  }
  assert.equal(await statusOf(new Uint8Array(MiB)), 200)
  assert.equal(await statusOf(chunked(MiB)), 200)
  assert.deepEqual(
    calls.requests.map(({ payload }) => payload.length),
    [MiB, MiB],
  )
  assert.equal(await statusOf(new Uint8Array(MiB + 1)), 413)
  assert.equal(await statusOf(chunked(MiB + 1)), 413)
  assert.equal(calls.requests.length, 2)
})

test('a client that sends all of a body that is too large still reads the answer', async (t) => {
  const { open } = await startTestGateway(t)
  const { socket, heard, waitFor, waitForEnd } = await open()
  const size = 20 * MiB
  socket.pause()
  socket.write(`POST ${CALL_PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: ${size}\r\n\r\n`)
  await new Promise<void>((resolve) => socket.write(Buffer.alloc(size), () => resolve()))
  socket.resume()
  await waitFor('Send at most 1 MB')
  await waitForEnd()
  assert.match(heard(), /^HTTP\/1.1 413 [\s\S]*Connection: close/i)
  assert.match(heard(), /X-Hyper-Error: PAYLOAD_TOO_LARGE/i)
})

test('a client that asks first is told to continue, or not to send at all', async (t) => {
  const { open, calls } = await startTestGateway(t)
  const first = await open()
  const head = [`POST ${CALL_PATH} HTTP/1.1`, 'Host: h', 'Expect: 100-continue']
  first.send(...head, 'Content-Length: 2', '', '')
  await first.waitFor('HTTP/1.1 100 Continue')
  first.send('ok')
  await first.waitFor('CallId"')
  assert.equal(calls.requests.length, 1)
  const second = await open()
  second.send(...head, `Content-Length: ${2 * MiB}`, '', '')
  await second.waitFor('HTTP/1.1 413')
  assert.ok(!second.heard().includes('100 Continue'))
})

test('a wrong secret is answered exactly like an unknown function', async (t) => {
  const { url } = await startTestGateway(t)
  const other = UUID.replace('5', '6')
  const callId = UUID
  for (const rest of ['', '/sync', `/${callId}`, `/${callId}/wait`]) {
    for (const plane of ['call', 'output', 'logs', 'status']) {
      const isRoute = rest === '' ? plane !== 'output' : (plane === 'call') === (rest === '/sync')
      if (!isRoute || (['logs', 'status'].includes(plane) && rest !== '')) continue
      const answers = await Promise.all(
        [`f/${other}`, `g/${UUID}`, `f/${'x'.repeat(5000)}`].map(async (path) => {
          const answer = await fetch(`${url}/${plane}/${path}${rest}`)
          const headers = [...answer.headers].filter(([name]) => name !== 'date')
          return { status: answer.status, headers, body: await answer.text() }
        }),
      )
      assert.equal(answers[0]?.status, 404)
      assert.match(answers[0]?.body ?? '', /no function has this address/)
      assert.deepEqual(answers[1], answers[0])
      assert.deepEqual(answers[2], answers[0])
    }
  }
})

test('HEAD and other methods never run a call', async (t) => {
  const { url, calls } = await startTestGateway(t)
  for (const method of ['HEAD', 'PATCH', 'OPTIONS']) {
    const answer = await fetch(`${url}${CALL_PATH}`, { method })
    assert.equal(answer.status, 405)
    assert.equal(answer.headers.get('allow'), 'GET, POST, PUT, DELETE')
  }
  assert.equal(calls.requests.length, 0)
})

test('headers that are too large are answered 431', async (t) => {
  const long = 'v'.repeat(15_000)
  const funcEnv = Array.from({ length: 4 }, (_, i) => `V${i}=${long}`)
  const stored = storedFunc({ Config: { Image: 'i', Env: funcEnv } })
  const { url, open } = await startTestGateway(t, createFakePorts({ stored }))
  const answer = await fetch(`${url}${CALL_PATH}`, { headers: { 'x-long': long } })
  assert.equal(answer.status, 431)
  assert.match(await answer.text(), /the environment of the call has \d+ bytes/)
  const { send, waitFor } = await open()
  send(`GET ${CALL_PATH} HTTP/1.1`, 'Host: h', `X: ${'v'.repeat(17_000)}`, '', '')
  await waitFor('HTTP/1.1 431')
})

test('a full budget of bytes in flight is answered 503 and given back', async (t) => {
  const { url, open, calls } = await startTestGateway(t)
  // 257 bodies that never end, each over half of what one may have.
  const held = await Promise.all(Array.from({ length: 257 }, open))
  const part = Buffer.alloc(MiB / 2 + 1)
  for (const { socket } of held) {
    socket.write(`POST ${CALL_PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: ${MiB}\r\n\r\n`)
    socket.write(part)
  }
  await until(() => held.some(({ heard }) => heard().startsWith('HTTP/1.1 503')), '503')
  const refused = held.find(({ heard }) => heard() !== '')
  assert.match(refused?.heard() ?? '', /Retry-After: \d+/i)
  for (const { socket } of held) socket.destroy()
  const status = await eventually(async () => {
    const answer = await fetch(`${url}${CALL_PATH}`, { method: 'POST', body: part })
    return answer.status !== 503 && answer.status
  })
  assert.equal(status, 200)
  assert.equal(calls.requests.length, 1)
})

test('a synchronous call is answered with its output, and delivered', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const answered = fetch(`${url}${CALL_PATH}/sync`, { method: 'POST', body: 'in' })
  await until(() => calls.requests.length === 1, 'the call')
  const listed = await calls.port.list('f1', 1, null)
  const callId = listed[0]?.callId ?? ''
  const output = Buffer.from([1, 0, 255])
  calls.end(finalAnswer(callId, 'FINISHED', output, 0))
  const answer = await answered
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('content-type'), 'application/octet-stream')
  assert.equal(answer.headers.get('x-hyper-call-id'), callId)
  assert.equal(answer.headers.get('x-hyper-exit-code'), '0')
  assert.deepEqual(Buffer.from(await answer.arrayBuffer()), output)
  await until(() => calls.deliveries.length > 0, 'the delivery')
  assert.deepEqual(calls.deliveries, [`delivered ${callId}`])
})

test('a synchronous client that goes away leaves its output undelivered', async (t) => {
  const { open, calls } = await startTestGateway(t)
  const { send, socket } = await open()
  send(`POST ${CALL_PATH}/sync HTTP/1.1`, 'Host: h', 'Content-Length: 0', '', '')
  await until(() => calls.requests.length === 1, 'the call')
  socket.destroy()
  await until(() => calls.deliveries.length > 0, 'the end of the connection')
  const callId = (await calls.port.list('f1', 1, null))[0]?.callId ?? ''
  calls.end(finalAnswer(callId, 'FINISHED', 'late'))
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(calls.deliveries, [`undelivered ${callId}`])
})

test('a synchronous call whose answer fails is undelivered, while its client is still there', async (t) => {
  const fake = createFakePorts()
  const { acceptSync } = fake.calls.port
  const ports = {
    ...fake.ports,
    calls: {
      ...fake.ports.calls,
      acceptSync: (request: Parameters<typeof acceptSync>[0]) => ({
        ...acceptSync(request),
        answer: Promise.reject(new HyperError('STOPPING', 'the coordinator is stopping')),
      }),
    },
  }
  const { url, calls } = await startTestGateway(t, { ...fake, ports })
  const answer = await fetch(`${url}${CALL_PATH}/sync`, { method: 'POST' })
  assert.equal(answer.status, 503)
  assert.deepEqual(calls.deliveries, [`undelivered ${answer.headers.get('x-hyper-call-id')}`])
})

test('an Idempotency-Key promises nothing: it is a header like any other', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const headers = { 'idempotency-key': 'k' }
  const ids = await Promise.all(
    [1, 2].map(async () => {
      const answer = await fetch(`${url}${CALL_PATH}`, { method: 'POST', headers })
      assert.equal(answer.status, 200)
      return answer.headers.get('x-hyper-call-id')
    }),
  )
  assert.notEqual(ids[0], ids[1])
  assert.ok(calls.requests[0]?.environment.includes('HTTP_IDEMPOTENCY_KEY=k'))
})
