/** The client's way to a coordinator: streams, long waits, errors that name the endpoint. */

import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { createClient } from '../../client/client.ts'
import { parseEndpoint } from '../../client/transport.ts'
import {
  finalHeaders,
  type GatewayStub,
  type Respond,
  STUB_CALL_ID,
  STUB_FUNC,
  sendError,
  sendJson,
  startGatewayStub,
} from '../support/gateway-stub.ts'

const start = async (t: TestContext, respond: Respond): Promise<GatewayStub> => {
  const stub = await startGatewayStub(respond)
  t.after(stub.close)
  return stub
}

const line = (Seq: number): string =>
  `${JSON.stringify({ Seq, Time: '2017-03-16T15:05:58.123Z', Event: 'PENDING', CallId: 'id' })}\n`

test('a payload is sent as it comes, and an output read as it comes', async (t) => {
  const stub = await start(t, ({ body }, response) => {
    response.writeHead(200, finalHeaders('FINISHED', 0))
    response.end(body)
  })
  const client = createClient({ endpoint: stub.endpoint })
  const payload = (async function* () {
    for (const word of ['a', 'b', 'c']) yield Buffer.from(word)
  })()
  const answer = await client.calls.run(STUB_FUNC, { payload, headers: { 'X-Size': '7' } })
  assert.equal(answer.state, 'finished')
  assert.deepEqual([answer.callId, answer.attempt, answer.exitCode], [STUB_CALL_ID, 1, 0])
  assert.equal(Buffer.concat(await answer.body.toArray()).toString(), 'abc')
  assert.equal(stub.asked[0]?.headers['transfer-encoding'], 'chunked')
  assert.equal(stub.asked[0]?.headers['x-size'], '7')
})

test('a payload that breaks off makes the call fail, with its own reason', async (t) => {
  const stub = await start(t, (_asked, response) => sendJson(response, {}))
  const client = createClient({ endpoint: stub.endpoint })
  const payload = (async function* () {
    yield Buffer.from('a')
    throw new Error('the disk is gone')
  })()
  await assert.rejects(client.calls.start(STUB_FUNC, { payload }), /the disk is gone/)
})

test('an endpoint that does not answer is named', async (t) => {
  const client = createClient({ endpoint: 'http://127.0.0.1:9', token: 'x' })
  await assert.rejects(client.funcs.list(), {
    code: 'UNREACHABLE',
    message: 'cannot reach the coordinator at http://127.0.0.1:9: connection refused',
  })
  const stub = await start(t, (_asked, response) => response.destroy())
  await assert.rejects(createClient({ endpoint: stub.endpoint }).funcs.list(), {
    code: 'UNREACHABLE',
  })
})

test('a refusal has the coordinator’s code, or is judged by its status', async (t) => {
  const stub = await start(t, ({ path }, response) => {
    if (path === '/funcs/a') sendError(response, 409, 'NAME_TAKEN', 'taken')
    else response.writeHead(403).end('a proxy says no')
  })
  const { funcs } = createClient({ endpoint: stub.endpoint, token: 'x' })
  await assert.rejects(funcs.get('a'), { code: 'NAME_TAKEN', message: 'taken' })
  await assert.rejects(funcs.get('b'), {
    code: 'FORBIDDEN',
    message: 'what answers there is no coordinator; it says 403: a proxy says no',
  })
})

test('an answer of another shape is refused by the field’s name', async (t) => {
  const { Name: _gone, ...rest } = STUB_FUNC
  const stub = await start(t, ({ path }, response) =>
    sendJson(response, path === '/funcs' ? [STUB_FUNC, rest] : 'what?'),
  )
  const client = createClient({ endpoint: stub.endpoint, token: 'x' })
  await assert.rejects(client.funcs.list(), { code: 'VERSION_MISMATCH', message: /1.*Name/ })
  await assert.rejects(client.overview(), { code: 'UNREACHABLE', message: /no JSON/ })
})

test('a signal ends what is under way with its reason', async (t) => {
  const stopping = new AbortController()
  const stub = await start(t, () => stopping.abort(new Error('enough')))
  const client = createClient({ endpoint: stub.endpoint, signal: stopping.signal })
  await assert.rejects(client.calls.output(STUB_FUNC, STUB_CALL_ID, { wait: true }), /enough/)
})

test('a followed log goes on after a break, without a line twice or missed', async (t) => {
  let connections = 0
  const stub = await start(t, (_asked, response) => {
    connections += 1
    response.writeHead(200)
    if (connections === 1) response.write(line(1) + line(2), () => response.destroy())
    else response.write(line(3))
  })
  const client = createClient({ endpoint: stub.endpoint })
  const stopping = new AbortController()
  const seen: (number | undefined)[] = []
  for await (const { Seq } of client.logs(STUB_FUNC, {
    follow: true,
    tail: 2,
    signal: stopping.signal,
  })) {
    seen.push(Seq)
    if (Seq === 3) break
  }
  assert.deepEqual(seen, [1, 2, 3])
  assert.equal(stub.asked[0]?.query.toString(), 'follow=1&tail=2')
  assert.equal(stub.asked[1]?.query.toString(), 'follow=1&since=2')
})

test('a request of an account with keys is signed over what is sent', async (t) => {
  const stub = await start(t, (_asked, response) => sendJson(response, STUB_FUNC, 201))
  const client = createClient({
    endpoint: stub.endpoint,
    keys: { accessKey: 'AK', secretKey: 'SK' },
  })
  await client.funcs.create({ Name: 'hi', Config: { Image: 'busybox' } })
  const [asked] = stub.asked
  assert.ok(asked !== undefined)
  const { headers, body } = asked
  const digest = createHash('sha256').update(body).digest('hex')
  assert.equal(headers['x-hyper-content-sha256'], digest)
  const [, day = '', region = '', names = '', signature] =
    /^HYPER-HMAC-SHA256 Credential=AK\/(\d{8})\/([^/]+)\/hyper\/hyper_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    ) ?? []
  // As the wire's description has it, from what arrived.
  const signed = names.split(';').map((name) => {
    const value = String(headers[name])
    return `${name}:${name === 'host' ? value.replace(/:(80|443)$/, '') : value}\n`
  })
  const canonical = ['POST', '/funcs/create', '', signed.join(''), names, digest].join('\n')
  const scope = `${day}/${region}/hyper/hyper_request`
  const text = [
    'HYPER-HMAC-SHA256',
    headers['x-hyper-date'],
    scope,
    createHash('sha256').update(canonical).digest('hex'),
  ].join('\n')
  let key: Buffer | string = 'HYPERSK'
  for (const part of [day, region, 'hyper', 'hyper_request', text]) {
    key = createHmac('sha256', key).update(part).digest()
  }
  assert.equal(signature, Buffer.from(key).toString('hex'))
})

test('an endpoint is scheme and authority; a bare name of another host gets TLS', () => {
  assert.equal(parseEndpoint('http://h:7480/'), 'http://h:7480')
  assert.equal(parseEndpoint('127.0.0.1:7480'), 'http://127.0.0.1:7480')
  assert.equal(parseEndpoint('hyper.example.com'), 'https://hyper.example.com')
  for (const text of ['', 'ftp://h', 'http://', 'a b']) {
    assert.throws(() => parseEndpoint(text), { code: 'BAD_PARAMETER' })
  }
})
