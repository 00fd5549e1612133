/**
 * Wrong input, from a user's side: for each the status, the exit code, one clear line that says
 * what to do next, and afterwards nothing that still runs or waits.
 */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Deployment, runHyper, startDeployment } from '../support/deployment.ts'
import { connectDocker } from '../support/docker.ts'
import { eventually } from '../support/eventually.ts'
import { api, callSync, createFunc } from '../support/functions.ts'

/** Asked of a registry that answers: no such repository. */
const MISSING = `${process.env.HYPER_TEST_REGISTRY}/no/such-image`
const MiB = 1024 * 1024
const ID = '00000000-0000-4000-8000-000000000000'

let deployment: Deployment

before(async () => {
  deployment = await startDeployment()
  await createFunc(deployment.context, 'taken', 'ubuntu', ['true'])
})
after(() => deployment.stop())

/** Every error is one line, on STDERR. */
const isOneLine = (text: string): boolean => /^[^\n]+\n$/.test(text)

interface CommandRow {
  readonly what: string
  readonly args: readonly string[]
  readonly code: number
  readonly says: RegExp
  readonly env?: NodeJS.ProcessEnv
}

const create = (...args: string[]): string[] => ['func', 'create', ...args]

const COMMANDS: readonly CommandRow[] = [
  {
    what: 'an unknown function',
    args: ['func', 'status', 'nope'],
    code: 3,
    says: /no such function: nope.*hyper func ls/,
  },
  {
    what: 'a call of an unknown function',
    args: ['func', 'call', 'nope'],
    code: 3,
    says: /no such function: nope/,
  },
  {
    what: 'a synchronous call of one',
    args: ['func', 'call', '--sync', 'nope'],
    code: 125,
    says: /no such function: nope/,
  },
  { what: 'an unknown call', args: ['func', 'get', ID], code: 125, says: /no such call/ },
  {
    what: 'an unknown image',
    args: ['pull', MISSING],
    code: 3,
    says: /no such image|not found/i,
  },
  {
    what: 'a function of an unknown image',
    args: create('--name', 'x', MISSING),
    code: 3,
    says: /no such image: .*no\/such-image.*hyper pull/,
  },
  {
    what: 'what is not an image name',
    args: create('--name', 'x', 'No Image'),
    code: 2,
    says: /not an image name/,
  },
  {
    what: 'a name that is taken',
    args: create('--name', 'taken', 'ubuntu', 'true'),
    code: 1,
    says: /taken exists.*another name/,
  },
  {
    what: 'a name that is not allowed',
    args: create('--name', 'No_Name', 'ubuntu'),
    code: 2,
    says: /not a name/,
  },
  { what: 'no name', args: create('ubuntu', 'true'), code: 2, says: /--name/ },
  {
    what: 'a size that does not exist',
    args: create('--name', 'x', '--size', 'q9', 'ubuntu'),
    code: 2,
    says: /no such size: q9.*s4/,
  },
  {
    what: 'a timeout that is not a number',
    args: create('--name', 'x', '--timeout', 'soon', 'ubuntu'),
    code: 2,
    says: /timeout/i,
  },
  {
    what: 'a timeout that is too long',
    args: create('--name', 'x', '--timeout', '90000', 'ubuntu'),
    code: 2,
    says: /86400/,
  },
  {
    what: 'an environment entry without a value',
    args: create('--name', 'x', '-e', '=v', 'ubuntu'),
    code: 2,
    says: /environment/,
  },
  {
    what: 'an unknown flag',
    args: create('--name', 'x', '--volume', '/a', 'ubuntu'),
    code: 2,
    says: /volume/,
  },
  { what: 'an unknown command', args: ['func', 'crate', 'x'], code: 2, says: /create/ },
  {
    what: 'a function that is not there to remove',
    args: ['func', 'rm', 'nope'],
    code: 3,
    says: /no such function/,
  },
  {
    what: 'a coordinator that is not there',
    args: ['--endpoint', 'http://127.0.0.1:9', 'func', 'ls'],
    code: 5,
    says: /127\.0\.0\.1:9.*(npm start|hyper up)/,
  },
  {
    what: 'a token that is wrong',
    args: ['func', 'ls'],
    code: 4,
    says: /hyper login/,
    env: { HYPER_TOKEN: 'wrong' },
  },
]

for (const { what, args, code, says, env } of COMMANDS) {
  test(`${what} is told in one line, with exit code ${code}`, async () => {
    const options = { home: deployment.home, ...(env === undefined ? {} : { env }) }
    const result = await runHyper(args, options)
    assert.match(result.stderr, says)
    assert.ok(isOneLine(result.stderr), `not one line: ${result.stderr}`)
    assert.equal(result.code, code, result.stderr)
    assert.equal(result.stdout.byteLength, 0)
  })
}

interface CallRow {
  readonly what: string
  readonly cmd: readonly string[]
  readonly func?: object
  readonly config?: object
  readonly input?: Uint8Array<ArrayBuffer>
  readonly status: number
  readonly reason: string
  readonly exitCode: number
  readonly says: RegExp
}

const CALLS: readonly CallRow[] = [
  {
    what: 'a command that is not in the image',
    cmd: ['no-such-command'],
    status: 500,
    reason: 'COMMAND_NOT_FOUND',
    exitCode: 127,
    says: /no-such-command/,
  },
  {
    what: 'a command that cannot be executed',
    cmd: ['/etc/passwd'],
    status: 500,
    reason: 'COMMAND_NOT_EXECUTABLE',
    exitCode: 126,
    says: /passwd/,
  },
  {
    what: 'a user whom the image does not know',
    cmd: ['true'],
    config: { User: 'nobody-here' },
    status: 500,
    reason: 'USER_NOT_FOUND',
    exitCode: 125,
    says: /nobody-here/,
  },
  {
    what: 'an exit code of its own',
    cmd: ['sh', '-c', 'echo out; echo why >&2; exit 7'],
    status: 500,
    reason: 'CALL_EXITED',
    exitCode: 7,
    says: /exit code 7.*why/s,
  },
  {
    what: 'a signal',
    cmd: ['sh', '-c', 'kill -USR1 $$'],
    status: 500,
    reason: 'CALL_SIGNALLED',
    exitCode: 138,
    says: /SIGUSR1/,
  },
  {
    what: 'a call that runs too long',
    cmd: ['sleep', '60'],
    func: { Timeout: 1 },
    status: 504,
    reason: 'CALL_TIMED_OUT',
    exitCode: 124,
    says: /1 s/,
  },
  {
    what: 'a call that takes all memory',
    cmd: ['sh', '-c', 'tail /dev/zero'],
    func: { ContainerSize: 's1' },
    status: 500,
    reason: 'CALL_OUT_OF_MEMORY',
    exitCode: 137,
    says: /memory/,
  },
  {
    what: 'output over 1 MB',
    cmd: ['sh', '-c', 'cat /dev/zero'],
    status: 509,
    reason: 'OUTPUT_TOO_LARGE',
    exitCode: 125,
    says: /1 MB|1048576|1,048,576/,
  },
]

for (const [index, row] of CALLS.entries()) {
  test(`${row.what} ends as ${row.reason}, exit code ${row.exitCode}`, async () => {
    const more = { ...row.func, ...(row.config === undefined ? {} : { config: row.config }) }
    const func = await createFunc(deployment.context, `wrong-${index}`, 'ubuntu', row.cmd, more)
    const answer = await callSync(deployment.context, func, row.input ?? '')
    const body = await answer.text()
    assert.equal(answer.status, row.status, body)
    assert.equal(answer.headers.get('x-hyper-reason'), row.reason)
    assert.match(body, row.says)
    const command = await deployment.hyper(['func', 'call', '--sync', func.name])
    assert.equal(command.code, row.exitCode, command.stderr)
    assert.equal(command.stdout.byteLength, 0, 'nothing of a failed call goes to STDOUT')
    assert.match(command.stderr, row.says)
  })
}

test('a call that never reads its 1 MB of input, and one that leaves children behind, both end', async () => {
  const blind = await createFunc(deployment.context, 'blind', 'ubuntu', ['echo', 'done'])
  const blindAnswer = await callSync(deployment.context, blind, new Uint8Array(MiB))
  assert.equal(await blindAnswer.text(), 'done\n')
  const parent = await createFunc(deployment.context, 'parent', 'ubuntu', [
    'sh',
    '-c',
    'sleep 1000 & echo done',
  ])
  assert.equal(await (await callSync(deployment.context, parent)).text(), 'done\n')
})

test('a body of 1 MB is taken, one byte more is refused with 413', async () => {
  const func = await createFunc(deployment.context, 'count', 'ubuntu', ['wc', '-c'])
  const whole = await callSync(deployment.context, func, new Uint8Array(MiB))
  assert.equal((await whole.text()).trim(), String(MiB))
  const over = await callSync(deployment.context, func, new Uint8Array(MiB + 1))
  assert.equal(over.status, 413)
  assert.match(await over.text(), /1 MB/)
  const command = await deployment.hyper(
    ['func', 'call', '--sync', 'count'],
    new Uint8Array(MiB + 1),
  )
  assert.equal(command.code, 125)
  assert.match(command.stderr, /1 MB/)
})

const FIELDS: readonly { readonly body: object; readonly says: RegExp }[] = [
  { body: { Config: { Image: 'ubuntu', Tty: true } }, says: /Config\.Tty/ },
  { body: { Config: { Image: 'ubuntu', Volumes: { '/x': {} } } }, says: /Config\.Volumes/ },
  {
    body: { Config: { Image: 'ubuntu' }, HostConfig: { Privileged: true } },
    says: /HostConfig\.Privileged/,
  },
  {
    body: { Config: { Image: 'ubuntu' }, HostConfig: { NetworkMode: 'host' } },
    says: /NetworkMode host/,
  },
  {
    body: { Config: { Image: 'ubuntu' }, HostConfig: { VolumesFrom: ['x'] } },
    says: /HostConfig\.VolumesFrom/,
  },
  { body: { Config: { Image: 'ubuntu', Env: ['x'] } }, says: /environment/ },
  { body: { Config: {} }, says: /Image/ },
]

for (const { body, says } of FIELDS) {
  test(`a field that cannot be honoured is refused by name: ${says.source}`, async () => {
    const answer = await api(deployment.context, 'POST', '/funcs/create', {
      Name: 'field',
      ...body,
    })
    assert.equal(answer.status, 400)
    assert.match(await answer.text(), says)
  })
}

test('a wrong uuid answers as an unknown function does', async () => {
  const { endpoint } = deployment.context
  const wrong = await fetch(`${endpoint}/call/taken/${ID}`, { method: 'POST' })
  const unknown = await fetch(`${endpoint}/call/nope/${ID}`, { method: 'POST' })
  assert.equal(wrong.status, 404)
  assert.equal(unknown.status, 404)
  assert.equal(
    (await wrong.text()).replace('taken', 'NAME'),
    (await unknown.text()).replace('nope', 'NAME'),
  )
})

test('an image of another platform is named as such', async () => {
  const answer = await api(deployment.context, 'POST', '/funcs/create', {
    Name: 'foreign',
    Config: { Image: 'hyper-test/other-platform' },
  })
  const { UUID } = (await answer.json()) as { UUID: string }
  assert.equal(answer.status, 201)
  const call = await fetch(`${deployment.context.endpoint}/call/foreign/${UUID}`, {
    method: 'POST',
  })
  const { CallId } = (await call.json()) as { CallId: string }
  const status = await eventually(async () => {
    const url = `${deployment.context.endpoint}/status/foreign/${UUID}?list=1`
    const { List } = (await (await fetch(url)).json()) as { List: { Message: string | null }[] }
    return List[0]?.Message ?? undefined
  })
  assert.match(status, /platform/)
  const cancelled = await deployment.hyper(['func', 'cancel', CallId])
  assert.equal(cancelled.code, 0, cancelled.stderr)
})

test('nothing waits, runs or stands any more after all of it', async () => {
  const info = (await (await api(deployment.context, 'GET', '/info')).json()) as {
    Hyper: { running: number; waiting: number }
  }
  assert.deepEqual([info.Hyper.running, info.Hyper.waiting], [0, 0])
  const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  try {
    await eventually(async () => (await docker.listContainers({ all: true })).length === 0)
  } finally {
    close()
  }
})
