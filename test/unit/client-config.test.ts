/** client.json: one schema for the CLI and for the coordinator beside it; and names of loopback. */

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { contextsPath, readContexts, writeContexts } from '../../cli/context.ts'
import { parseEndpoint } from '../../client/transport.ts'
import { writeClientContext } from '../../coordinator/client-context.ts'
import { isLoopback } from '../../protocol/loopback.ts'

const homeFor = async (t: TestContext): Promise<string> => {
  const home = await mkdtemp(join(tmpdir(), 'hyper-contexts-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  return home
}

const far = { endpoint: 'https://far.example', token: 'far' }

test('what the coordinator leaves the CLI reads, and the user’s own contexts stay', async (t) => {
  const home = await homeFor(t)
  const path = contextsPath(home)
  await writeClientContext(path, 'default', 'http://127.0.0.1:1', 'near')
  const near = { endpoint: 'http://127.0.0.1:1', token: 'near' }
  assert.deepEqual(await readContexts(home), { current: 'default', contexts: { default: near } })
  await writeContexts(home, { current: 'far', contexts: { default: near, far } })
  await writeClientContext(path, 'default', 'http://127.0.0.1:2', 'new')
  assert.deepEqual(await readContexts(home), {
    current: 'far',
    contexts: { default: { endpoint: 'http://127.0.0.1:2', token: 'new' }, far },
  })
  assert.equal((await stat(path)).mode & 0o777, 0o600)
})

test('a file that is no file of contexts is named by both, and not written over', async (t) => {
  const home = await homeFor(t)
  const path = contextsPath(home)
  for (const text of ['', '{', '[]', '{"current":"x","contexts":{"x":{"endpoint":1}}}']) {
    await writeFile(path, text, { mode: 0o600 })
    const refusal = { code: 'BAD_PARAMETER', message: /client\.json is not a file of contexts/ }
    await assert.rejects(readContexts(home), refusal)
    await assert.rejects(writeClientContext(path, 'default', 'http://h', 't'), refusal)
    assert.equal(await readFile(path, 'utf8'), text)
  }
  await rm(path)
  await mkdir(path)
  await assert.rejects(writeClientContext(path, 'default', 'http://h', 't'), /cannot be read/)
})

test('writers at once leave one whole file and nothing beside it', async (t) => {
  const home = await homeFor(t)
  await Promise.all(
    Array.from({ length: 20 }, (_, number) =>
      number % 2 === 0
        ? writeContexts(home, { current: '', contexts: { [`c${number}`]: far } })
        : writeClientContext(contextsPath(home), `c${number}`, 'http://h', 'x'.repeat(5000)),
    ),
  )
  assert.ok(Object.keys((await readContexts(home)).contexts).length > 0)
  assert.deepEqual(await readdir(home), ['client.json'])
})

test('loopback is known by its names, and not by what only looks like them', () => {
  for (const name of ['localhost', 'LOCALHOST', '127.0.0.1', '127.255.0.9', '::1', '[::1]']) {
    assert.ok(isLoopback(name), name)
  }
  for (const name of [
    '',
    '127.0.0.1.evil.test',
    '127.evil.test',
    'localhost.evil.test',
    '10.0.0.1',
    '::2',
    '127.0.0.256',
  ]) {
    assert.ok(!isLoopback(name), name)
  }
  assert.equal(parseEndpoint('[::1]:7480'), 'http://[::1]:7480')
  assert.equal(parseEndpoint('127.evil.test:7480'), 'https://127.evil.test:7480')
  assert.equal(parseEndpoint('localhost.evil.test'), 'https://localhost.evil.test')
})
