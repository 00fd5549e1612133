/** What set-up does before it changes anything on a machine. */

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { commandNeed, engineAnswers, ensurePackages } from '../../cli/setup/engine-install.ts'

const setEnvironment = (t: TestContext, name: string, value: string): void => {
  const before = process.env[name]
  process.env[name] = value
  t.after(() => {
    if (before === undefined) delete process.env[name]
    else process.env[name] = before
  })
}

test('installs nothing and says nothing when all is there', async () => {
  const said: string[] = []
  await ensurePackages([commandNeed('sh', 'dash')], (line) => said.push(line))
  assert.deepEqual(said, [])
})

test('tells what to do instead of installing when HYPER_SETUP is ask', async (t) => {
  setEnvironment(t, 'HYPER_SETUP', 'ask')
  const said: string[] = []
  const needs = [
    commandNeed('no-such-command', 'package-a', 'package-b'),
    commandNeed('sh', 'dash'),
  ]
  await assert.rejects(
    ensurePackages(needs, (line) => said.push(line)),
    (error: Error) => {
      assert.match(error.message, /no-such-command/)
      const isDebian = error.message.includes('apt-get install')
      if (isDebian) assert.match(error.message, /--no-install-recommends package-a package-b$/)
      return true
    },
  )
  assert.deepEqual(said, [])
})

test('takes the engine that DOCKER_HOST names, if it answers', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'engine-'))
  t.after(() => rm(dir, { recursive: true }))
  const socketPath = join(dir, 'docker.sock')
  setEnvironment(t, 'DOCKER_HOST', `unix://${socketPath}`)
  await assert.rejects(engineAnswers(), /DOCKER_HOST is unix:.*ENOENT/)
  const asked: (string | undefined)[] = []
  const server = createServer((request, response) => {
    asked.push(request.url)
    response.end('OK')
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  t.after(() => server.close())
  assert.equal(await engineAnswers(), true)
  assert.deepEqual(asked, ['/_ping'])
})
