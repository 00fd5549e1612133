/**
 * Coordinator and agent in containers of one image, run by the lines that the documents print but for
 * paths: joined by a ticket, a call is served, rules are set around the functions' network, and each
 * stops in order. See support/program-image.ts for what of the image's making is not tried here.
 */

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import type Docker from 'dockerode'
import { HELLO_IMAGE } from '../../protocol/image.ts'
import { connectDocker, type DockerClient } from '../support/docker.ts'
import { readDockerRun } from '../support/docker-run.ts'
import { eventually } from '../support/eventually.ts'
import { buildProgramImage } from '../support/program-image.ts'

const IMAGE = 'hyper-func'
const START_MS = 60_000
const socketPath = process.env.HYPER_TEST_DOCKER_SOCKET ?? ''

let client: DockerClient
let dir: string
let image: Awaited<ReturnType<typeof buildProgramImage>>
const containers: Docker.Container[] = []

before(async () => {
  client = connectDocker(socketPath)
  dir = await mkdtemp(join(tmpdir(), 'containers-'))
  image = await buildProgramImage(client.docker, IMAGE, dir)
})

after(async () => {
  for (const container of containers.reverse()) await container.remove({ force: true, v: true })
  if (containers.length > 0) await client.docker.getVolume('hyper-coordinator').remove()
  await image.remove()
  client.close()
  await rm(dir, { recursive: true, force: true })
})

/** The line of the document, with this test's paths for the usual ones. */
const printed = async (daemon: string, places: Readonly<Record<string, string>>) => {
  const path = new URL('../../docs/reference/operating.md', import.meta.url)
  const text = await readFile(path, 'utf8')
  const [, block = ''] =
    new RegExp(`<!-- container: ${daemon} -->\\n((?: {4}.*\\n)+)`).exec(text) ?? []
  let line = block.replaceAll('\\\n', ' ')
  for (const [usual, own] of Object.entries(places)) line = line.replaceAll(usual, own)
  return readDockerRun(line)
}

const start = async (options: Docker.ContainerCreateOptions): Promise<Docker.Container> => {
  const container = await client.docker.createContainer(options)
  containers.push(container)
  await container.start()
  return container
}

const logsOf = async (container: Docker.Container): Promise<string> =>
  (await container.logs({ stdout: true, stderr: true })).toString()

/** What goes wrong is told with what the container said. */
const until = (container: Docker.Container, isSo: () => Promise<boolean>): Promise<unknown> =>
  eventually(isSo, START_MS).catch(async (error: unknown) => {
    throw new Error(await logsOf(container), { cause: error })
  })

/** Runs a command in a container to its end. */
const run = async (container: Docker.Container, Cmd: readonly string[]) => {
  const made = await container.exec({ Cmd: [...Cmd], AttachStdout: true, AttachStderr: true })
  const stream = await made.start({})
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  client.docker.modem.demuxStream(stream, stdout, stderr)
  stream.once('end', () => {
    stdout.end()
    stderr.end()
  })
  const [out, err] = await Promise.all([buffer(stdout), buffer(stderr)])
  const { ExitCode } = await made.inspect()
  return { code: ExitCode, out: out.toString(), err: err.toString() }
}

const execute = async (container: Docker.Container, ...words: readonly string[]) => {
  const { code, out, err } = await run(container, words)
  assert.equal(code, 0, `${words.join(' ')}: ${out}${err}`)
  return out
}

test('coordinator and agent in containers join, serve a call, and stop in order', async () => {
  const coordinator = await start(await printed('coordinator', { ADDRESS: '127.0.0.1' }))
  const hyper = (...words: readonly string[]): Promise<string> =>
    execute(coordinator, 'hyper', ...words)
  await until(coordinator, async () =>
    (await logsOf(coordinator)).includes('The coordinator is ready'),
  )
  assert.equal((await execute(coordinator, 'id', '-u')).trim(), '1000')
  const { Config } = await coordinator.inspect()
  const [, ...check] = Config.Healthcheck?.Test ?? []
  await execute(coordinator, ...check)

  const home = join(dir, 'agent')
  await mkdir(home, { mode: 0o700 })
  const { ticket } = JSON.parse(await hyper('invite', '--json')) as { ticket: string }
  await writeFile(join(home, 'ticket'), ticket)
  const info = (await client.docker.info()) as { readonly DockerRootDir: string }
  const agent = await start(
    await printed('agent', {
      '/var/lib/hyper-agent': home,
      '/var/run/docker.sock:': `${socketPath}:`,
      '/var/lib/docker': info.DockerRootDir,
    }),
  )
  const states = async (): Promise<readonly string[]> => {
    const rows = JSON.parse(await hyper('agents', '--json')) as readonly {
      readonly state: string
      readonly reason: string
    }[]
    return rows.map(({ state, reason }) => (state === 'alive' ? `${state}${reason}` : state))
  }
  await until(agent, async () => (await states()).includes('alive'))
  await hyper('func', 'create', '--name', 'hello', HELLO_IMAGE)
  assert.match(await hyper('func', 'call', '--sync', 'hello'), /\S/)

  const said = await logsOf(agent)
  assert.match(said, /are kept from this host’s ports/)
  assert.doesNotMatch(said, /another disk is watched/)
  const { code, out } = await run(agent, ['hyper', 'doctor', '--json'])
  assert.equal(code, 0, `nobody has logged in there, which is no fault: ${out}`)
  const doctor = JSON.parse(out) as readonly {
    readonly check: string
    readonly state: string
  }[]
  const found = doctor.map(({ check, state }) => `${check} ${state}`)
  for (const good of ['engine good', 'firewall good', 'mesh good', 'engine disk good']) {
    assert.ok(found.includes(good), JSON.stringify(doctor))
  }

  await agent.stop()
  assert.equal((await agent.inspect()).State.ExitCode, 0, await logsOf(agent))
  assert.deepEqual(await states(), ['left'])
  await coordinator.stop()
  assert.equal((await coordinator.inspect()).State.ExitCode, 0, await logsOf(coordinator))
})
