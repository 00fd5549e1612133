/**
 * The README's lines for another host, typed as they are printed there, on two hosts: the first has
 * `hyper up`, the second an engine of its own, whose images are none of the first one's.
 */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, test } from 'node:test'
import { environmentFor } from '../support/deployment.ts'
import { connectDocker } from '../support/docker.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { eventually } from '../support/eventually.ts'
import { type Host, type Hosts, openHosts } from '../support/hosts.ts'

const README = new URL('../../README.md', import.meta.url)
const MAIN = new URL('../../cli/main.ts', import.meta.url).pathname
const SOON_MS = 60_000

interface Typed {
  output(): string
  interrupt(): void
  readonly ended: Promise<number | null>
}

let folder: string
let engine: TestEngine
let hosts: Hosts
let first: Host
let second: Host
const typed: Typed[] = []

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'two-'))
  await mkdir(join(folder, 'bin'))
  const hyper = join(folder, 'bin/hyper')
  await writeFile(hyper, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`)
  await chmod(hyper, 0o755)
  hosts = await openHosts()
  first = await hosts.add('first')
  second = await hosts.add('second')
  engine = await startTestEngine({ dir: join(folder, 'e') })
})

after(async () => {
  // Agents of others before the coordinator.
  for (const { interrupt, ended } of typed.toReversed()) {
    interrupt()
    await ended
  }
  await hosts.close()
  await engine.stop()
  await rm(folder, { recursive: true, force: true })
})

/** A line in a user's shell on that host. */
const type = (host: Host, line: string, env: NodeJS.ProcessEnv = {}): Typed => {
  const [enter = '', ...where] = host.inside
  const path = `${join(folder, 'bin')}${delimiter}${process.env.PATH ?? ''}`
  const child = spawn(enter, [...where, 'sh', '-c', `exec ${line}`], {
    env: { ...environmentFor(host.home), PATH: path, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
  }
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  return { output: () => output, interrupt: () => void child.kill('SIGINT'), ended }
}

/** One that is left running. */
const start = async (shown: RegExp, ...of: Parameters<typeof type>): Promise<Typed> => {
  const running = type(...of)
  typed.push(running)
  await eventually(
    () => shown.test(running.output()),
    SOON_MS,
    () => `${of[1]}: ${running.output()}`,
  )
  return running
}

const succeed = async (host: Host, line: string): Promise<string> => {
  const { output, ended } = type(host, line)
  assert.equal(await ended, 0, `${line}\n${output()}`)
  return output()
}

/** What the README says of another host: its first block, and the commands in its text. */
const linesOf = (readme: string) => {
  const [, section = ''] = readme.split('\n## Add a host\n')
  const [, invite = ''] = /\n {4}(hyper .+)\n/.exec(section) ?? []
  const inText = [...section.matchAll(/`(hyper [^`]+)`/g)].map(([, line = '']) => line)
  const find = (start: string): string => {
    const line = inText.find((one) => one.startsWith(start))
    assert.ok(line !== undefined, `the README says ${start}`)
    return line
  }
  return {
    ...{ invite, member: find('hyper agent --join '), adHoc: find('hyper join ') },
    list: find('hyper agents'),
  }
}

test('two hosts are one mesh after the lines of the README', async () => {
  const readme = linesOf(await readFile(README, 'utf8'))
  assert.equal(readme.invite, 'hyper invite')
  await start(/Hyper Func is up/, first, 'hyper up')
  const printed = await succeed(first, readme.invite)
  const [ticket = ''] = printed.split('\n')
  const withTicket = (line: string): string => line.replace('TICKET', ticket)
  // What the program prints for the other host is what the README says it does.
  for (const line of [readme.member, readme.adHoc]) {
    assert.ok(printed.includes(`\n  ${withTicket(line)}\n`), printed)
  }
  const onSecond = { DOCKER_HOST: engine.dockerHost }
  await start(/The agent is ready/, second, withTicket(readme.member), onSecond)
  assert.match(await succeed(first, readme.list), /^first .*\n(.*\n)*second /m)

  // Only the second host takes calls now, and its engine has never seen our image.
  await succeed(first, 'hyper agents drain first')
  assert.match(await succeed(first, 'hyper func call --sync hello'), /Hello/)
  const { docker, close } = connectDocker(engine.socketPath)
  const images = await docker.listImages()
  close()
  const tags = images.flatMap(({ RepoTags }) => RepoTags ?? [])
  assert.ok(
    tags.some((tag) => tag.includes('hyper-func/hello')),
    tags.join(', '),
  )
})

test('a host that joined until Ctrl-C is gone after it', async () => {
  const readme = linesOf(await readFile(README, 'utf8'))
  const [ticket = ''] = (await succeed(first, readme.invite)).split('\n')
  const third = await hosts.add('third')
  const line = readme.adHoc.replace('TICKET', ticket)
  const joined = await start(/The agent is ready/, third, line)
  assert.match(await succeed(first, readme.list), /^third /m)
  joined.interrupt()
  assert.equal(await joined.ended, 0, joined.output())
  assert.doesNotMatch(await succeed(first, readme.list), /^third +(?!left|is left)\S/m)
})
