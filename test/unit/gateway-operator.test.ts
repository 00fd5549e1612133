import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PLAIN_TOKEN } from '../support/fake-ports.ts'
import { BEARER, startTestGateway } from '../support/gateway.ts'

test("the operator's routes are forbidden to others", async (t) => {
  const { url } = await startTestGateway(t)
  const headers = { authorization: `Bearer ${PLAIN_TOKEN}` }
  const routes = [
    ['GET', '/agents'],
    ['POST', '/agents/x/drain'],
    ['DELETE', '/agents/x'],
    ['POST', '/invites'],
    ['GET', '/accounts'],
    ['POST', '/accounts/x/rotate'],
  ]
  for (const [method = '', path] of routes) {
    const answer = await fetch(`${url}${path}`, { method, headers })
    assert.equal(answer.status, 403, path)
    assert.equal(answer.headers.get('x-hyper-error'), 'FORBIDDEN')
  }
})

test('agents, invitations and accounts are managed by the operator', async (t) => {
  const { url, asked } = await startTestGateway(t)
  const request = async (method: string, path: string, body?: unknown) => {
    const init = { method, headers: BEARER, ...(body ? { body: JSON.stringify(body) } : {}) }
    const answer = await fetch(`${url}${path}`, init)
    const text = await answer.text()
    return [answer.status, answer.ok && text !== '' ? JSON.parse(text) : null] as const
  }
  assert.deepEqual(await request('GET', '/agents'), [200, []])
  assert.deepEqual(await request('POST', '/agents/a-1/drain'), [204, null])
  assert.deepEqual(await request('POST', '/agents/a-1/undrain'), [204, null])
  assert.deepEqual(await request('DELETE', '/agents/a-1'), [204, null])
  assert.equal((await request('POST', '/invites'))[0], 201)
  const order = { uses: 3, expiresMs: 1000, labels: { zone: 'eu' } }
  assert.equal((await request('POST', '/v1.40/invites', order))[1].uses, 3)
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`l${at}`, '']))
  const wrong = [many, { '': 'x' }, { x: 'x'.repeat(257) }, { ['x'.repeat(257)]: 'x' }, { x: 1 }]
  for (const each of [{ uses: 0 }, ...wrong.map((labels) => ({ labels }))]) {
    assert.equal((await request('POST', '/invites', each))[0], 400, JSON.stringify(each))
  }
  assert.deepEqual(asked, [
    ['drain', 'a-1', true],
    ['drain', 'a-1', false],
    ['leave', 'a-1'],
    ['invite', { uses: 1, expiresMs: 3_600_000, labels: {}, lan: false }],
    ['invite', { uses: 3, expiresMs: 1000, labels: { zone: 'eu' }, lan: false }],
  ])
  const alice = {
    name: 'alice',
    quota: 10,
    operator: false,
    running: 1,
    waiting: 2,
    created: '2017-03-16T07:05:24.473Z',
    accessKey: 'AK2',
  }
  assert.deepEqual((await request('GET', '/accounts'))[1][1], alice)
  assert.deepEqual(await request('PUT', '/accounts/alice', { quota: 3 }), [
    200,
    { ...alice, quota: 3 },
  ])
  assert.equal((await request('PUT', '/accounts/alice', { quota: -1 }))[0], 400)
  const [status, credentials] = await request('POST', '/accounts', { name: 'bob' })
  assert.equal(status, 201)
  assert.deepEqual(Object.keys(credentials), ['name', 'token', 'accessKey', 'secretKey', 'quota'])
  assert.equal((await request('POST', '/accounts/bob/rotate'))[1].name, 'bob')
  assert.equal((await request('DELETE', '/accounts/alice'))[0], 409)
})

test('info tells of the account and the mesh', async (t) => {
  const { url } = await startTestGateway(t)
  const answer = await fetch(`${url}/info`, { headers: BEARER })
  const info = Object(await answer.json())
  assert.deepEqual(info.Hyper, {
    version: '0.1.0',
    account: 'default',
    quota: 10,
    running: 1,
    waiting: 2,
    operator: true,
    peerId: 'P',
    mesh: [],
    publicUrl: 'https://hyper.example',
    agents: { connected: 0, slots: 0, free: 0 },
  })
})

test('probes need no token, and readiness says what is missing', async (t) => {
  const { url, setNotReady } = await startTestGateway(t)
  for (const path of ['/healthz', '/readyz', '/_ping', '/v1.24/_ping']) {
    assert.equal((await fetch(`${url}${path}`)).status, 200)
    assert.equal((await fetch(`${url}${path}`, { method: 'HEAD' })).status, 200)
  }
  setNotReady(['no agent'])
  const answer = await fetch(`${url}/readyz`)
  assert.equal(answer.status, 503)
  const body: unknown = await answer.json()
  assert.deepEqual(body, { ready: false, reasons: ['no agent'] })
})
