import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refuseForeignPages } from '../../coordinator/gateway/auth.ts'
import { HyperError } from '../../protocol/errors.ts'
import { createFakePorts, UUID } from '../support/fake-ports.ts'
import { BEARER, startTestGateway } from '../support/gateway.ts'

test('the management plane needs a token, and says which kind', async (t) => {
  const { url } = await startTestGateway(t)
  for (const path of [
    '/funcs',
    '/images/json',
    '/images/a/b/json',
    '/info',
    '/version',
    '/agents',
  ]) {
    for (const authorization of ['', 'Bearer', 'Bearer wrong', 'Basic x', 'HYPER-HMAC-SHA256 x']) {
      const answer = await fetch(`${url}${path}`, { headers: { authorization } })
      assert.equal(answer.status, 401, `${path} ${authorization}`)
      assert.equal(answer.headers.get('www-authenticate'), 'Bearer')
      assert.equal(answer.headers.get('x-hyper-error'), 'UNAUTHORIZED')
    }
    const answer = await fetch(`${url}/v1.23${path}`, { headers: BEARER })
    assert.equal(answer.status, path.includes('/a/b/') ? 404 : 200, path)
  }
})

test('every answer forbids caching, sniffing and referrers', async (t) => {
  const { url, open } = await startTestGateway(t)
  for (const path of ['/funcs', '/healthz', '/nothing', `/logs/f/${UUID}`, '/%zz']) {
    const { headers } = await fetch(`${url}${path}`)
    assert.equal(headers.get('cache-control'), 'no-store', path)
    assert.equal(headers.get('referrer-policy'), 'no-referrer')
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
  }
  const { send, waitFor, heard } = await open()
  send('nonsense', '', '')
  await waitFor('HTTP/1.1 400')
  assert.match(heard(), /nosniff/)
})

test('a page that reaches loopback by a name of its own is refused', async (t) => {
  const { open } = await startTestGateway(t)
  const statusOf = async (...headers: string[]): Promise<string> => {
    const { send, heard, waitFor } = await open()
    send('GET /funcs HTTP/1.1', `Authorization: ${BEARER.authorization}`, ...headers, '', '')
    await waitFor('\r\n\r\n')
    return heard().slice(9, 12)
  }
  for (const host of ['localhost', '127.0.0.1:80', '[::1]:7480', 'LOCALHOST:1', 'hyper.example']) {
    assert.equal(await statusOf(`Host: ${host}`), '200', host)
  }
  for (const host of ['evil.test', 'localhost.evil.test', '127.0.0.1.evil.test', '10.0.0.1', '']) {
    assert.equal(await statusOf(`Host: ${host}`), '403', host)
  }
  const host = 'Host: localhost:7480'
  assert.equal(await statusOf(host, 'Origin: http://localhost:7480'), '200')
  assert.equal(await statusOf(host, 'Origin: https://hyper.example'), '200')
  for (const origin of ['http://evil.test', 'null', 'http://localhost:1']) {
    assert.equal(await statusOf(host, `Origin: ${origin}`), '403', origin)
  }
  assert.equal(await statusOf(host, 'Sec-Fetch-Site: cross-site'), '403')
  assert.equal(await statusOf(host, 'Sec-Fetch-Site: same-origin'), '200')
})

test('a request costs no overview of the coordinator, a list of accounts costs one', async (t) => {
  const fake = createFakePorts()
  let overviews = 0
  const ports = {
    ...fake.ports,
    overview: () => {
      overviews += 1
      return fake.ports.overview()
    },
  }
  const { url } = await startTestGateway(t, { ...fake, ports })
  for (const path of ['/_ping', '/funcs', '/funcs/f', '/agents']) {
    assert.equal((await fetch(`${url}${path}`, { headers: BEARER })).status, 200)
  }
  assert.equal(overviews, 0)
  assert.equal((await fetch(`${url}/accounts`, { headers: BEARER })).status, 200)
  assert.equal(overviews, 1)
})

test('off loopback any Host is taken, and foreign pages are not', () => {
  refuseForeignPages({ host: 'anything.test' }, false, '')
  const isForeign = (error: unknown) =>
    error instanceof HyperError && error.code === 'FOREIGN_ORIGIN'
  assert.throws(() => refuseForeignPages({ host: 'a', origin: 'http://b' }, false, ''), isForeign)
})

test('functions are created, listed, changed and removed', async (t) => {
  const { url, asked } = await startTestGateway(t)
  const request = async (method: string, path: string, body?: unknown) => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: BEARER,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    const isJson = answer.headers.get('content-type')?.startsWith('application/json') ?? false
    return { status: answer.status, text, json: isJson ? JSON.parse(text) : null }
  }
  const config = { Image: 'busybox' }
  const created = await request('POST', '/v1.23/funcs/create', { Name: 'g', Config: config })
  assert.equal(created.status, 201)
  assert.equal(created.json.Name, 'g')
  assert.equal(created.json.UUID, UUID)
  assert.equal((await request('POST', '/funcs/create', { Name: 'f', Config: config })).status, 409)
  assert.equal((await request('POST', '/funcs/create', { Name: '-', Config: config })).status, 400)
  assert.equal((await request('POST', '/funcs/create')).status, 400)
  assert.equal((await request('POST', '/funcs/create', 'x'.repeat(262_144))).status, 413)

  assert.equal((await request('GET', '/funcs')).json.length, 1)
  const filtered = (filters: unknown) =>
    request('GET', `/funcs?filters=${encodeURIComponent(JSON.stringify(filters))}`)
  assert.equal((await filtered({ name: ['f', 'x'] })).json.length, 1)
  assert.equal((await filtered({ name: { x: true } })).json.length, 0)
  assert.equal((await filtered({ colour: ['x'] })).status, 400)

  assert.equal((await request('GET', '/funcs/f')).json.Name, 'f')
  assert.equal((await request('GET', '/funcs/create')).status, 200)
  assert.deepEqual(await request('GET', '/funcs/x'), {
    status: 404,
    text: 'no such function: x. See `hyper func ls`.',
    json: null,
  })
  assert.equal((await request('PUT', '/funcs/f', { Timeout: 5, Config: { Env: [] } })).status, 200)
  assert.equal((await request('DELETE', '/funcs/f?force=1')).status, 204)
  assert.equal((await request('GET', `/funcs/call/${UUID}`)).status, 404)
  assert.deepEqual(asked.slice(-2), [
    ['update', 'f', { Timeout: 5, Env: [] }],
    ['remove', 'f', true],
  ])
})

test('the function of a call is found by its CallId', async (t) => {
  const { url, calls } = await startTestGateway(t)
  const answer = await fetch(`${url}/funcs/call/${calls.add('running')}`, { headers: BEARER })
  assert.equal(answer.status, 200)
})

test('unknown paths are 404 and wrong methods 405', async (t) => {
  const { url } = await startTestGateway(t)
  const statusOf = async (method: string, path: string) =>
    (await fetch(`${url}${path}`, { method, headers: BEARER })).status
  assert.equal(await statusOf('GET', '/nothing'), 404)
  assert.equal(await statusOf('GET', '/v1.23/v1.23/funcs'), 404)
  assert.equal(await statusOf('POST', '/nothing'), 404)
  assert.equal(await statusOf('POST', '/funcs'), 405)
  assert.equal(await statusOf('PATCH', '/funcs/f'), 405)
  assert.equal(await statusOf('DELETE', '/images/a/json'), 405)
  assert.equal(await statusOf('POST', '/healthz'), 405)
})

test('errors come as text, or as JSON with their code', async (t) => {
  const { url } = await startTestGateway(t)
  const text = await fetch(`${url}/funcs/x`, { headers: BEARER })
  assert.equal(text.headers.get('content-type'), 'text/plain; charset=utf-8')
  assert.equal(text.headers.get('x-hyper-error'), 'FUNC_NOT_FOUND')
  const json = await fetch(`${url}/funcs/x`, { headers: { ...BEARER, accept: 'application/json' } })
  const body: unknown = await json.json()
  assert.deepEqual(body, {
    message: 'no such function: x. See `hyper func ls`.',
    code: 'FUNC_NOT_FOUND',
  })
})

test('a fault of ours is logged with its cause and answered without it', async (t) => {
  const { url, logged } = await startTestGateway(t)
  const body = JSON.stringify({ Name: 'broken', Config: { Image: 'i' } })
  const answer = await fetch(`${url}/funcs/create`, { method: 'POST', headers: BEARER, body })
  assert.equal(answer.status, 500)
  assert.equal(await answer.text(), 'internal error. Look at the coordinator’s log.')
  const line = logged.find((text) => text.includes('request failed')) ?? ''
  assert.match(line, /secret detail/)
})
