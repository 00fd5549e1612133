/** Images on a real engine and registries: platforms, and credentials that come for one pull. */

import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { ImageRecord } from '../../protocol/image.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'
import { connectDocker } from '../support/docker.ts'
import { REGISTRY_LOGIN } from '../support/registry.ts'

const base64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64')
const AUTH = base64(REGISTRY_LOGIN)
const closed = `${process.env.HYPER_TEST_CLOSED_REGISTRY}/hyper-test/static`
const log: string[] = []
let bench: AgentBench

before(async () => {
  bench = await createAgentBench({ onLog: (line) => log.push(line) })
  await bench.open()
  await bench.connect()
})
after(() => bench.close())

const removeImage = async ({ id }: ImageRecord): Promise<void> => {
  const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  await docker
    .getImage(id)
    .remove({ force: true })
    .finally(() => close())
}

test('a record tells all platforms that the registry has, and is pulled by the digest of them all', async () => {
  const both = await bench.pull('hyper-test/both')
  assert.deepEqual([...(both.platforms ?? [])].sort(), ['linux/amd64', 'linux/arm64'])
  assert.match(both.platform, /^linux\/(amd64|arm64)$/)
  const single = await bench.pull('hyper-test/other-platform')
  assert.deepEqual(single.platforms, [single.platform])
  assert.notEqual(single.platform, both.platform)
  assert.notEqual(single.digest, both.digest)
  const result = await bench.run({ image: both })
  assert.equal(result.code, 'FINISHED')
})

test('a call whose image is not here asks for credentials, and pulls it with what it is told', async () => {
  await assert.rejects(bench.pull(closed), { code: 'REGISTRY_UNAUTHORIZED' })
  await assert.rejects(bench.pull(closed, base64({ ...REGISTRY_LOGIN, password: 'wrong' })), {
    code: 'REGISTRY_UNAUTHORIZED',
  })
  const record = await bench.pull(closed, AUTH)
  assert.deepEqual(record.platforms, [record.platform])
  const image = { ...record, isPrivate: true }
  assert.equal((await bench.run({ image })).code, 'FINISHED')
  const asked = (): number =>
    bench.messages.filter(({ type }) => type === 'want-registry-auth').length
  assert.equal(asked(), 0, 'it was here')

  await removeImage(record)
  for (const auth of ['', base64({ ...REGISTRY_LOGIN, password: 'wrong' })]) {
    const key = bench.assign({ image })
    await bench.message('want-registry-auth', key)
    bench.giveAuth(key, auth)
    const { code, started } = await bench.result(key)
    assert.deepEqual([code, started], ['REGISTRY_UNAUTHORIZED', false])
    bench.acknowledge(key)
  }
  const key = bench.assign({ image })
  await bench.message('want-registry-auth', key)
  bench.giveAuth(key, AUTH)
  assert.equal((await bench.result(key)).code, 'FINISHED')
  bench.acknowledge(key)
  await bench.quiet()
  assert.equal((await bench.run({ image })).code, 'FINISHED')
  assert.equal(asked(), 3, 'once for each pull')
})

test('no credentials are in the agent’s files or its log', async () => {
  const entries = await readdir(bench.home, { recursive: true, withFileTypes: true })
  const files = entries.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name))
  const texts = await Promise.all(files.map((path) => readFile(path, 'latin1')))
  assert.ok(files.length > 0 && log.length > 0)
  for (const text of [...texts, ...log]) {
    for (const secret of [AUTH, REGISTRY_LOGIN.password]) assert.ok(!text.includes(secret))
  }
})
