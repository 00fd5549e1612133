/** Signed requests: what the client signs the gateway accepts, and nothing that differs from it. */

import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { request } from 'node:http'
import { type TestContext, test } from 'node:test'
import { createClient } from '../../client/client.ts'
import { signRequest } from '../../client/signature.ts'
import { limits } from '../../protocol/limits.ts'
import { createFakePorts, SECRET_KEY } from '../support/fake-ports.ts'
import { startTestGateway } from '../support/gateway.ts'

const keys = { accessKey: 'AK2', secretKey: SECRET_KEY }
const NOTHING = new Uint8Array()

interface Sent {
  readonly method?: string
  readonly path?: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array
}

/** Sends exactly this; a `fetch` would add headers and tidy the path. */
const send = (endpoint: string, sent: Sent): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const { method = 'GET', path = '/funcs', headers, body = NOTHING } = sent
    const length = body.byteLength === 0 ? {} : { 'Content-Length': body.byteLength }
    const asked = request(
      endpoint,
      { method, path, headers: { ...length, ...headers }, agent: false },
      (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('end', () => {
          resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() })
        })
      },
    )
    asked.on('error', reject)
    asked.end(body)
  })

interface Signing {
  readonly method?: string
  readonly path?: string
  readonly contentType?: string
  readonly body?: Uint8Array
  readonly secretKey?: string
  readonly accessKey?: string
  readonly agoMs?: number
}

const sign = (endpoint: string, signing: Signing = {}): Record<string, string> => {
  const { contentType = '', secretKey = SECRET_KEY, accessKey = keys.accessKey } = signing
  return {
    ...(contentType === '' ? {} : { 'Content-Type': contentType }),
    ...signRequest({
      keys: { accessKey, secretKey },
      method: signing.method ?? 'GET',
      url: new URL(`${endpoint}${signing.path ?? '/funcs'}`),
      contentType,
      body: signing.body ?? NOTHING,
      now: new Date(Date.now() - (signing.agoMs ?? 0)),
    }),
  }
}

const start = async (t: TestContext) => {
  const { url, ...rest } = await startTestGateway(t, createFakePorts())
  const refused = async (sent: Sent, says: RegExp): Promise<void> => {
    const { status, text } = await send(url, sent)
    assert.equal(status, 401, text)
    assert.match(text, says)
  }
  return { ...rest, url, refused }
}

test('whatever the client signs, the gateway accepts for the account of the keys', async (t) => {
  const { url, asked } = await start(t)
  const client = createClient({ endpoint: url, keys })
  assert.equal((await client.overview()).Hyper.account, 'alice')
  const config = { Image: 'busybox', Env: ['A=é b'] }
  assert.equal((await client.funcs.create({ Name: 'g', Config: config })).Name, 'g')
  assert.equal((await client.funcs.list({ name: ['g', "it's (1)*"] })).length, 0)
  await client.funcs.update('f', { Timeout: 5 })
  await client.funcs.remove('f', { force: true })
  for await (const progress of client.images.pull('host:5000/team/app:1')) assert.ok(progress)
  assert.deepEqual(asked[0], ['create', 'alice', 'g'])
  assert.equal(asked.length, 4)
  await assert.rejects(client.accounts.list(), { code: 'FORBIDDEN' })
})

test('a version in the path, doubled slashes and other ways to encode are what they mean', async (t) => {
  const { url } = await start(t)
  const ok = async (path: string, signed: string, status = 200): Promise<void> => {
    const answer = await send(url, { path, headers: sign(url, { path: signed }) })
    assert.equal(answer.status, status, `${path}: ${answer.text}`)
  }
  await ok('/v1.23/funcs', '/v1.23/funcs')
  await ok('/v1.23/funcs', '/v1.23//funcs')
  await ok(
    '/images/registry.example:5000/team/app:1/json',
    '/images/registry.example%3A5000/team/app%3A1/json',
  )
  await ok('/funcs?filters=%7B%7D&x=a+b', '/funcs?x=a%20b&filters={}')
})

test('a wrong key, secret, date, path, method or query is refused', async (t) => {
  const { url, refused } = await start(t)
  const not = /no account has signed this request so/
  await refused({ headers: sign(url, { secretKey: 'wrong' }) }, not)
  await refused({ headers: sign(url, { accessKey: 'AK1' }) }, not)
  await refused({ headers: sign(url), path: '/funcs/f' }, not)
  await refused({ headers: sign(url), path: '/v1.23/funcs' }, not)
  await refused({ headers: sign(url), path: '/funcs?force=1' }, not)
  const one = sign(url, { path: '/funcs/f' })
  await refused({ headers: one, path: '/funcs/f', method: 'DELETE' }, not)
  const clock = /X-Hyper-Date is more than 5 minutes from/
  for (const sign1 of [1, -1]) {
    const agoMs = sign1 * (limits.signatureMs + 2000)
    await refused({ headers: sign(url, { agoMs }) }, clock)
    const inTime = sign(url, { agoMs: sign1 * (limits.signatureMs - 10_000) })
    assert.equal((await send(url, { headers: inTime })).status, 200)
  }
})

test('a body that is not the signed one is refused, whether the route reads it or not', async (t) => {
  const { url, refused, asked } = await start(t)
  const body = Buffer.from('{"Timeout":5}')
  const json = { method: 'PUT', path: '/funcs/f', contentType: 'application/json', body }
  const headers = sign(url, json)
  assert.equal((await send(url, { ...json, headers })).status, 200)
  const other = Buffer.from('{"Timeout":6}')
  await refused({ ...json, body: other, headers }, /the body is not the one that was signed/)
  // With the digest changed as well, the signature no longer fits.
  const digest = createHash('sha256').update(other).digest('hex')
  const forged = { ...headers, 'X-Hyper-Content-Sha256': digest }
  await refused({ ...json, body: other, headers: forged }, /no account has signed/)
  const gone = { method: 'DELETE', path: '/funcs/f' }
  await refused({ ...gone, headers: sign(url, gone), body: other }, /not the one that was signed/)
  assert.deepEqual(
    asked.map(([what]) => what),
    ['update'],
  )
})

test('a header that counts and is not signed, or is signed and not there, is refused', async (t) => {
  const { url, refused } = await start(t)
  const headers = sign(url)
  const names = /SignedHeaders must be [a-z0-9;-]*host;x-hyper-content-sha256;x-hyper-date/
  await refused({ headers: { ...headers, 'Content-Type': 'text/plain' } }, names)
  await refused({ headers: { ...headers, 'X-Hyper-More': '1' } }, names)
  const { 'X-Hyper-Date': _date, ...undated } = headers
  await refused({ headers: undated }, /X-Hyper-Date is not a date/)
  const { 'X-Hyper-Content-Sha256': _digest, ...unhashed } = headers
  await refused({ headers: unhashed }, /X-Hyper-Content-Sha256 is not/)
  const { Authorization = '' } = headers
  for (const bad of ['', 'Credential=x', Authorization.slice(18, -1), 'A'.repeat(9000)]) {
    await refused(
      { headers: { ...headers, Authorization: `HYPER-HMAC-SHA256 ${bad}` } },
      /signature is not/,
    )
  }
  const fewer = Authorization.replace('SignedHeaders=host;', 'SignedHeaders=')
  await refused({ headers: { ...headers, Authorization: fewer } }, names)
})

test('a signature made by the description alone is accepted', async (t) => {
  const { url } = await start(t)
  const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const digest = createHash('sha256').update('').digest('hex')
  const host = new URL(url).host
  const names = 'content-md5;content-type;host;x-hyper-content-sha256;x-hyper-date'
  const canonical = [
    ...['GET', '/v1.23/funcs', 'filters=%7B%22name%22%3A%5B%22f%22%5D%7D'],
    ...['content-md5:x', 'content-type:text/plain', `host:${host}`],
    ...[`x-hyper-content-sha256:${digest}`, `x-hyper-date:${stamp}`, '', names, digest],
  ].join('\n')
  const scope = `${stamp.slice(0, 8)}/us-west-1/hyper/hyper_request`
  const text = ['HYPER-HMAC-SHA256', stamp, scope]
  const whole = [...text, createHash('sha256').update(canonical).digest('hex')].join('\n')
  let key: Buffer | string = `HYPER${SECRET_KEY}`
  for (const part of [stamp.slice(0, 8), 'us-west-1', 'hyper', 'hyper_request', whole]) {
    key = createHmac('sha256', key).update(part).digest()
  }
  const signature = Buffer.from(key).toString('hex')
  const answer = await send(url, {
    path: `/v1.23/funcs?filters=${encodeURIComponent('{"name":["f"]}')}`,
    headers: {
      'Content-Type': 'text/plain',
      'Content-MD5': 'x',
      'X-Hyper-Date': stamp,
      'X-Hyper-Content-Sha256': digest,
      Authorization: `HYPER-HMAC-SHA256 Credential=AK2/${scope}, SignedHeaders=${names}, Signature=${signature}`,
    },
  })
  assert.equal(answer.status, 200, answer.text)
})
