/** The commands that show and change what is there, on real processes: their printed forms. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Deployment, runHyper, startDeployment } from '../support/deployment.ts'
import { callSync, createFunc } from '../support/functions.ts'

let deployment: Deployment

before(async () => {
  deployment = await startDeployment()
})
after(() => deployment.stop())

/** What a command prints; it must succeed and say nothing else. */
const printed = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await deployment.hyper(args)
  assert.equal(code, 0, stderr)
  return stdout.toString()
}

const json = async (...args: string[]): Promise<unknown> =>
  JSON.parse(await printed('--json', ...args))

const words = (line: string | undefined): string[] => (line ?? '').trim().split(/ {2,}/)

test('a function is listed, inspected, changed and counted', async () => {
  await printed('func', 'create', '--name', 'shown', '-e', 'A=1', 'ubuntu', 'sh', '-c', 'echo $A')
  const [head, ...rows] = (await printed('func', 'ls')).trimEnd().split('\n')
  assert.deepEqual(words(head), ['NAME', 'SIZE', 'IMAGE', 'COMMAND', 'CREATED', 'UUID'])
  const row = words(rows.find((line) => line.startsWith('shown ')))
  assert.deepEqual(row.slice(0, 4), ['shown', 's4', 'ubuntu', "sh -c 'echo $A'"])

  const [before] = JSON.parse(await printed('func', 'inspect', 'shown')) as {
    UUID: string
    Config: { Env: string[] }
  }[]
  assert.equal(before?.UUID, row[5])
  const changes = ['--size', 's1', '--timeout', '9', '-e', 'A=2', '--refresh']
  assert.equal(await printed('func', 'update', ...changes, 'shown'), 'shown\n')
  const template = '{{.ContainerSize}} {{.Timeout}} {{json .Config.Env}}'
  assert.equal(await printed('func', 'inspect', '-f', template, 'shown'), 's1 9 ["A=2"]\n')
  const uuid = (await printed('func', 'inspect', '-f', '{{.UUID}}', 'shown')).trim()
  assert.notEqual(uuid, before?.UUID)

  assert.equal(await printed('func', 'call', '--sync', 'shown'), '2\n')
  const [titles, counts] = (await printed('func', 'status', 'shown')).trimEnd().split('\n')
  assert.deepEqual(words(titles), ['TOTAL', 'PENDING', 'RUNNING', 'FINISHED', 'FAILED'])
  assert.deepEqual(words(counts), ['1', '0', '0', '1', '0'])
})

test('agents and coordinator are shown', async () => {
  const [head, row] = (await printed('agents')).trimEnd().split('\n')
  const titles = 'AGENT STATE SLOTS FREE RUNNING READY MEMORY IMAGES VERSION SEEN'
  assert.deepEqual(words(head), titles.split(' '))
  assert.equal(words(row)[1], 'alive')
  const [agent] = (await json('agents')) as { slots: number; free: number; state: string }[]
  assert.equal(agent?.state, 'alive')
  assert.equal(agent?.slots, agent?.free)
  assert.match(await printed('info'), new RegExp(deployment.context.endpoint))
  assert.match(await printed('version'), /Client:.*\nServer:/)
})

test('another account has its own token, quota and functions', async () => {
  const made = (await json('account', 'create', 'bob', '--quota', '3')) as Record<string, unknown>
  assert.deepEqual(Object.keys(made), ['name', 'token', 'accessKey', 'secretKey', 'quota'])
  assert.deepEqual([made.name, made.quota], ['bob', 3])
  const env = { HYPER_TOKEN: String(made.token) }
  const listed = await runHyper(['--json', 'func', 'ls'], { home: deployment.home, env })
  assert.deepEqual(JSON.parse(listed.stdout.toString()), [])
  const refused = await runHyper(['agents'], { home: deployment.home, env })
  assert.equal(refused.code, 4, refused.stderr)
})

test('what an image says of how it is run is honoured, but for its health check', async () => {
  const image = 'hyper-test/configured'
  const asIs = await createFunc(deployment.context, 'as-is', image, [])
  const body = await (await callSync(deployment.context, asIs)).text()
  assert.equal(body, 'hello from-image /srv/app 1234 \n')
  const changed = await createFunc(deployment.context, 'changed', image, ['mine'], {
    config: { Env: ['GREETING=bye'], WorkingDir: '/tmp', User: '0' },
  })
  assert.equal(await (await callSync(deployment.context, changed)).text(), 'bye mine /tmp 0 \n')
})
