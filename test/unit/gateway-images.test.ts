import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readRegistryAuth } from '../../coordinator/gateway/images.ts'
import { HyperError } from '../../protocol/errors.ts'
import { createFakePorts, IMAGE } from '../support/fake-ports.ts'
import { BEARER, startTestGateway } from '../support/gateway.ts'

test('an image whose name has slashes is inspected', async (t) => {
  const { url } = await startTestGateway(t)
  for (const name of [IMAGE.reference, encodeURIComponent(IMAGE.reference)]) {
    const answer = await fetch(`${url}/v1.23/images/${name}/json`, { headers: BEARER })
    assert.equal(answer.status, 200)
    const image = Object(await answer.json())
    assert.equal(image.Id, IMAGE.id)
    assert.deepEqual(image.RepoTags, [IMAGE.reference])
    assert.deepEqual(image.RepoDigests, [`registry.example:5000/team/app@${IMAGE.digest}`])
    assert.deepEqual([image.Os, image.Architecture, image.Variant], ['linux', 'arm64', 'v8'])
    assert.equal(image.Size, 4711)
    assert.deepEqual(image.Config.Cmd, ['sh'])
  }
  const answer = await fetch(`${url}/images/a/b/c/json`, { headers: BEARER })
  assert.equal(answer.status, 404)
  assert.match(await answer.text(), /^No such image: a\/b\/c/)
  assert.equal((await fetch(`${url}/images/a/b`, { headers: BEARER })).status, 404)
})

test('images are listed in the shape of Docker', async (t) => {
  const { url } = await startTestGateway(t)
  const list = Object(await (await fetch(`${url}/images/json`, { headers: BEARER })).json())
  assert.equal(list[0].Id, IMAGE.id)
  assert.equal(list[0].Created, 1_489_647_924)
  const filters = encodeURIComponent('{"reference":["other"]}')
  const none = await fetch(`${url}/images/json?filters=${filters}`, { headers: BEARER })
  assert.equal(await none.text(), '[]')
})

test('a pull streams its progress, one JSON object a line', async (t) => {
  const fake = createFakePorts({
    pull: async (_account, _reference, _auth, onProgress) => {
      onProgress('{"status":"Pulling","id":"a"}')
      onProgress('{"status":"Done","id":"a"}\r\n')
      return IMAGE
    },
  })
  const { url } = await startTestGateway(t, fake)
  const init = { method: 'POST', headers: BEARER }
  const answer = await fetch(`${url}/images/create?fromImage=busybox&tag=1`, init)
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('content-type'), 'application/json')
  const lines = (await answer.text()).split('\n')
  assert.deepEqual(lines, [
    '{"status":"Pulling","id":"a"}',
    '{"status":"Done","id":"a"}',
    `{"status":"Status: busybox:1 is ${IMAGE.digest}"}`,
    '',
  ])
})

test('a pull that fails has a status before its first line, and a last line after it', async (t) => {
  let isLate = false
  const fake = createFakePorts({
    pull: async (_account, _reference, _auth, onProgress) => {
      if (isLate) onProgress('{"status":"Pulling"}')
      throw new HyperError('IMAGE_NOT_FOUND', 'no such image: x')
    },
  })
  const { url } = await startTestGateway(t, fake)
  const pull = () => fetch(`${url}/images/create?fromImage=x`, { method: 'POST', headers: BEARER })
  const early = await pull()
  assert.equal(early.status, 404)
  assert.match(await early.text(), /^no such image: x/)
  isLate = true
  const late = await pull()
  assert.equal(late.status, 200)
  const message = 'no such image: x. Check the name; `hyper pull IMAGE` tells more.'
  assert.deepEqual(JSON.parse((await late.text()).split('\n')[1] ?? ''), {
    errorDetail: { message },
    error: message,
  })
})

test('a pull takes a tag, a digest, or neither, and credentials', async (t) => {
  const { url, asked } = await startTestGateway(t)
  const digest = `sha256:${'c'.repeat(64)}`
  const pull = async (query: string, auth = ''): Promise<number> => {
    const headers = { ...BEARER, 'x-registry-auth': auth }
    const init = { method: 'POST', headers }
    return (await fetch(`${url}/images/create?${query}`, init)).status
  }
  assert.equal(await pull('fromImage=a/b'), 200)
  assert.equal(await pull(`fromImage=a/b&tag=${digest}`, 'e30'), 200)
  assert.equal(await pull('fromImage=a/b&tag=1', 'eyJhdXRoIjoiPz8_In0'), 200)
  assert.deepEqual(asked, [
    ['pull', 'a/b', ''],
    ['pull', `a/b@${digest}`, ''],
    ['pull', 'a/b:1', 'eyJhdXRoIjoiPz8/In0='],
  ])
  for (const query of ['', 'fromImage=UPPER', 'fromSrc=-', 'fromImage=a&platform=x']) {
    assert.equal(await pull(query), 400, query)
  }
  assert.equal(await pull('fromImage=a', 'not base64!'), 400)
})

test('registry credentials are re-encoded, and wrong ones are not quoted', () => {
  const json = '{"username":"ü>?","password":"p"}'
  const padded = Buffer.from(json).toString('base64')
  for (const text of [
    padded,
    padded.replaceAll('=', ''),
    Buffer.from(json).toString('base64url'),
  ]) {
    assert.equal(readRegistryAuth(text), padded)
  }
  for (const empty of [
    undefined,
    '',
    'bnVsbA==',
    'e30=',
    Buffer.from('{"auth":""}').toString('base64'),
  ]) {
    assert.equal(readRegistryAuth(empty), '')
  }
  for (const json of ['[1]', '"x"', '{"a":1}', '{', '\xff']) {
    const text = Buffer.from(json, 'latin1').toString('base64')
    assert.throws(
      () => readRegistryAuth(text),
      (error: unknown) => error instanceof HyperError && !error.message.includes(text),
      json,
    )
  }
})
