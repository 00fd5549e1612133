/** Engines from 20.10 to 29, and what else answers to their API: told apart, and spoken with. */

import assert from 'node:assert/strict'

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { apiTroubleOf, type Engine, startEngine } from '../../agent/engine.ts'
import { parseContainerInspect } from '../../agent/engine-answers.ts'
import { createImages } from '../../agent/images.ts'
import { openPremises } from '../../agent/premises.ts'
import { HyperError } from '../../protocol/errors.ts'
import { type FakeVersion, startFakeEngine } from '../support/fake-engine.ts'

type Fake = Awaited<ReturnType<typeof startFakeEngine>>

const start = async (
  t: TestContext,
  of: Parameters<typeof startFakeEngine>[0],
): Promise<{ fake: Fake; engine: Engine }> => {
  const fake = await startFakeEngine(of)
  const engine = startEngine(fake.dockerHost)
  t.after(async () => {
    engine.close()
    await fake.close()
  })
  await engine.check()
  return { fake, engine }
}

const DOCKER_29 = {
  Version: '29.0.1',
  ApiVersion: '1.52',
  MinAPIVersion: '1.44',
  Components: [{ Name: 'Engine' }, { Name: 'containerd' }, { Name: 'runc' }],
}

/** As 29 answers: fields that would be empty are not there, nor is what older APIs had. */
const IMAGE_29 = {
  Id: `sha256:${'a'.repeat(64)}`,
  RepoTags: ['busybox:latest'],
  RepoDigests: [`busybox@sha256:${'a'.repeat(64)}`],
  Os: 'linux',
  Architecture: 'amd64',
  Size: 1,
  Config: { Cmd: ['sh'] },
}

const none = async (): Promise<void> => undefined
const pulled = { list: () => [], has: () => false, add: none, drop: none, used: () => undefined }

test('an engine of the oldest API that we know is spoken with in that', async (t) => {
  const { fake, engine } = await start(t, {})
  assert.deepEqual([engine.facts()?.apiVersion, engine.facts()?.apiTrouble], ['1.41', ''])
  await engine.docker.listImages({ abortSignal: AbortSignal.timeout(5000) })
  assert.match(fake.asked.at(-1) ?? '', /^\/v1\.41\/images\/json/)
})

test('an engine that refuses old APIs is spoken with in the newest that both know', async (t) => {
  const { fake, engine } = await start(t, { version: DOCKER_29, image: IMAGE_29 })
  assert.deepEqual([engine.isUp(), engine.facts()?.product], [true, 'Docker'])
  assert.equal(engine.pathPrefix(), '/v1.51')
  const images = createImages({ engine, initDir: '/', pulled, trouble: () => '' })
  const pin = { reference: 'busybox:latest', digest: IMAGE_29.Id, id: IMAGE_29.Id }
  const record = await images.ensure(pin, AbortSignal.timeout(5000), null)
  assert.match(fake.asked.at(-1) ?? '', /^\/v1\.51\/images\//)
  const empty = {
    Entrypoint: null,
    Env: null,
    User: '',
    WorkingDir: '',
    Labels: {},
    StopSignal: '',
  }
  assert.deepEqual(record.config, { ...empty, Cmd: ['sh'] })
  assert.deepEqual([record.id, record.digest, record.created], [IMAGE_29.Id, IMAGE_29.Id, ''])
})

test('an image of which nothing is configured is one without a command', async (t) => {
  const { Config: _none, RepoDigests: _digests, ...bare } = IMAGE_29
  const { engine } = await start(t, { version: DOCKER_29, image: bare })
  const images = createImages({ engine, initDir: '/', pulled, trouble: () => '' })
  const pin = { reference: 'bare:latest', digest: null, id: IMAGE_29.Id }
  const record = await images.ensure(pin, AbortSignal.timeout(5000), null)
  assert.deepEqual([record.config.Cmd, record.config.Entrypoint, record.digest], [null, null, null])
})

test('a container’s state is read without the fields that newer engines dropped', () => {
  const State = { Status: 'exited', Running: false, OOMKilled: false, ExitCode: 7 }
  assert.equal(parseContainerInspect({ State }).State.ExitCode, 7)
  assert.equal(parseContainerInspect({ State: { ...State, Error: null } }).State.Error, null)
})

test('an engine is refused by name only where no API is common', () => {
  const rows = [
    ['1.41', '1.12', /^$/],
    ['1.52', '1.44', /^$/],
    ['1.60', '1.51', /^$/],
    ['1.41', '', /^$/],
    ['1.40', '1.12', /older than 1\.41.*20\.10.*upgrade it/],
    ['1.9', '1.1', /older than 1\.41/],
    ['2.0', '1.52', /no API older than 1\.52.*upgrade hyper/],
  ] as const
  for (const [newest, oldest, says] of rows) assert.match(apiTroubleOf(newest, oldest), says)
})

test('Podman is recognised behind Docker’s API', async (t) => {
  const version = {
    Version: '4.3.1',
    ApiVersion: '1.41',
    Components: [{ Name: 'Podman Engine' }, { Name: 'Conmon' }],
  }
  const { engine } = await start(t, { version })
  assert.deepEqual([engine.facts()?.product, engine.facts()?.version], ['Podman', '4.3.1'])
})

test('what the kernel does not bound is known, and what an engine does not tell is not counted', async (t) => {
  const { fake, engine } = await start(t, {})
  assert.deepEqual(engine.facts()?.unlimited, [])
  fake.say({ NCPU: 1, Runtimes: {}, SwapLimit: false, MemoryLimit: true, PidsLimit: false })
  await engine.check()
  assert.deepEqual(engine.facts()?.unlimited, ['swap', 'processes'])
})

/** Opens an agent's premises on an engine that is played: its trial fails, as it runs no containers. */
const openOn = async (t: TestContext, version: FakeVersion) => {
  const fake = await startFakeEngine({ version })
  const home = await mkdtemp(join(tmpdir(), 'agent-'))
  t.after(async () => {
    await fake.close()
    await rm(home, { recursive: true, force: true })
  })
  await writeFile(join(home, 'hyper-init'), 'not one')
  await writeFile(join(home, 'hello'), 'not one')
  const lines: string[] = []
  const log = pino({ level: 'warn' }, { write: (line) => lines.push(line) })
  const opened = openPremises(
    {
      ...{ home, initDir: home, dockerHost: fake.dockerHost },
      ...{ slots: 1, memoryBytes: null, runner: 'docker', ready: 0, agentId: 'test' },
    },
    log,
  )
  const failure: unknown = await opened.then(
    () => null,
    (error: unknown) => error,
  )
  return { failure, lines }
}

test('an agent does not start on an engine that it cannot speak with, and says which', async (t) => {
  const { failure } = await openOn(t, { Version: '19.03.1', ApiVersion: '1.40' })
  assert.ok(failure instanceof HyperError && failure.code === 'ENGINE_UNSUITABLE')
  assert.match(failure.message, /Docker 19\.03\.1 cannot be used: its API 1\.40 is older/)
})

test('an agent on Podman says in its log that this is untested', async (t) => {
  const Components = [{ Name: 'Podman Engine' }]
  const { lines } = await openOn(t, { Version: '4.3.1', ApiVersion: '1.41', Components })
  assert.match(lines[0] ?? '', /"product":"Podman".*untested/)
})
