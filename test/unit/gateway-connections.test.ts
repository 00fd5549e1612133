import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { type GatewayOptions, startGateway } from '../../coordinator/gateway/server.ts'
import { HyperError } from '../../protocol/errors.ts'
import { finalAnswer } from '../support/fake-calls.ts'
import { createFakePorts, TOKEN, UUID } from '../support/fake-ports.ts'
import { BEARER, CALL_PATH, startTestGateway, until } from '../support/gateway.ts'

const start = (options: Partial<GatewayOptions>) =>
  startGateway({
    ports: createFakePorts().ports,
    listenHost: '127.0.0.1',
    listenPort: 0,
    insecure: false,
    tls: null,
    log: pino({ level: 'silent' }),
    isStopping: () => false,
    ...options,
  })

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof HyperError && error.code === code

test('a taken address, and one off loopback without TLS, are refused by name', async (t) => {
  const { gateway } = await startTestGateway(t)
  await assert.rejects(start({ listenPort: gateway.port }), hasCode('ADDRESS_IN_USE'))
  for (const listenHost of ['0.0.0.0', '::', '10.0.0.1', 'example.test']) {
    await assert.rejects(start({ listenHost }), hasCode('NOT_LOOPBACK'))
  }
  await assert.rejects(start({ tls: { cert: 'x', key: 'y' } }), hasCode('BAD_PARAMETER'))
  const open = await start({ listenHost: '0.0.0.0', insecure: true })
  await open.close()
})

test('requests that no HTTP/1.1 server should take are answered 400', async (t) => {
  const { open, calls } = await startTestGateway(t)
  const head = `POST ${CALL_PATH} HTTP/1.1\r\n`
  const corpus = [
    'nonsense\r\n\r\n',
    `${head}\r\n`,
    `${head}Host: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${head}Host: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
    `${head}Host: h\r\nContent-Length: -1\r\n\r\n`,
    `${head}Host: h\r\nX: a\0b\r\n\r\n`,
    `${head}Host: h\r\nX: a\rb\r\n\r\n`,
    `${head}Host: h\r\nX : a\r\n\r\n`,
    `${head}Host: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
    'GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n',
  ]
  for (const text of corpus) {
    const { socket, heard, waitFor } = await open()
    socket.write(text)
    await waitFor('\r\n\r\n')
    assert.match(heard(), /^HTTP\/1.1 400 /, JSON.stringify(text))
  }
  assert.equal(calls.requests.length, 0)
})

test('a connection is kept for the next request, also after a refusal', async (t) => {
  const { open } = await startTestGateway(t)
  const { send, heard, waitFor } = await open()
  send(`POST /call/f/x HTTP/1.1`, 'Host: h', 'Content-Length: 5', '', 'abcde')
  await waitFor('no function has this address')
  send(`POST ${CALL_PATH} HTTP/1.1`, 'Host: h', 'Content-Length: 1', '', 'x')
  await waitFor('CallId"')
  assert.match(heard(), /^HTTP\/1.1 404 /)
})

test('the log names routes, and no secret', async (t) => {
  const { url, logged, calls } = await startTestGateway(t)
  const callId = calls.add('running')
  calls.end(finalAnswer(callId, 'FINISHED', 'the-output'))
  await fetch(`${url}${CALL_PATH}?q=in-the-query`, { method: 'POST', body: 'the-payload' })
  await (await fetch(`${url}/output/f/${UUID}/${callId}`)).text()
  await fetch(`${url}/funcs`, { headers: BEARER })
  await fetch(`${url}/nothing/${UUID}`)
  await until(() => logged.length === 4, 'four lines')
  const routes = logged.map((line) => JSON.parse(line).route)
  assert.deepEqual(routes, ['/call/:name/:uuid', '/output/:name/:uuid/:callId', '/funcs', 'none'])
  for (const secret of [UUID, TOKEN, 'in-the-query', 'the-payload', 'the-output']) {
    assert.ok(!logged.join('').includes(secret), secret)
  }
})

test('a stopping coordinator takes no calls', async (t) => {
  const { url } = await startTestGateway(t, createFakePorts(), { isStopping: () => true })
  const answer = await fetch(`${url}${CALL_PATH}`, { method: 'POST', body: 'x' })
  assert.equal(answer.status, 503)
  assert.equal(answer.headers.get('x-hyper-error'), 'STOPPING')
  assert.ok(Number(answer.headers.get('retry-after')) > 0)
  assert.equal((await fetch(`${url}/readyz`)).status, 503)
})

test('a closing gateway lets a running answer end', async (t) => {
  const { url, gateway, calls, open } = await startTestGateway(t)
  const idle = await open()
  const callId = calls.add('running')
  const answered = fetch(`${url}/output/f/${UUID}/${callId}/wait`)
  await until(() => calls.found.length > 0, 'the wait')
  const closed = gateway.close()
  await assert.rejects(fetch(`${url}/healthz`))
  calls.end(finalAnswer(callId, 'FINISHED', 'done'))
  assert.equal(await (await answered).text(), 'done')
  await closed
  await idle.waitForEnd()
})

test('those who still wait when the gateway closes are told to come again', async (t) => {
  const { url, gateway, calls } = await startTestGateway(t)
  const callId = calls.add('running')
  const waiting = fetch(`${url}/output/f/${UUID}/${callId}/wait`)
  const sync = fetch(`${url}${CALL_PATH}/sync`, { method: 'POST' })
  await until(() => calls.requests.length === 1 && calls.found.length > 0, 'both')
  await gateway.close(10)
  for (const answer of [await waiting, await sync]) {
    assert.equal(answer.status, 503)
    assert.equal(answer.headers.get('connection'), 'close')
  }
  const syncId = (await sync).headers.get('x-hyper-call-id')
  assert.deepEqual(calls.deliveries, [`undelivered ${syncId}`])
})
