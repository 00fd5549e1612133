/**
 * Calls that go wrong, from a user's side: for each the status, the exit code, one clear line, and
 * afterwards nothing that still runs or waits.
 */

import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Deployment, startDeployment } from '../support/deployment.ts'
import { connectDocker } from '../support/docker.ts'
import { eventually } from '../support/eventually.ts'
import { api, callSync, createFunc } from '../support/functions.ts'

const MiB = 1024 * 1024

let deployment: Deployment

before(async () => {
  deployment = await startDeployment()
})
after(() => deployment.stop())

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

test('nothing waits or runs any more after all of it, and nothing stands but what is ready', async () => {
  const info = (await (await api(deployment.context, 'GET', '/info')).json()) as {
    Hyper: { running: number; waiting: number }
  }
  assert.deepEqual([info.Hyper.running, info.Hyper.waiting], [0, 0])
  const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  try {
    let seen = ''
    await eventually(
      async () => {
        const response = await api(deployment.context, 'GET', '/agents')
        const agents = (await response.json()) as { peerId: string; ready: number }[]
        const ready = agents.reduce((sum, agent) => sum + agent.ready, 0)
        // The engine may have those of other files’ agents, which were killed there.
        const lists = agents.map(({ peerId }) =>
          docker.listContainers({
            all: true,
            filters: JSON.stringify({ label: ['hyper=call', `hyper.agent=${peerId}`] }),
          }),
        )
        const byEngine = (await Promise.all(lists)).flat()
        const folder = join(deployment.home, 'agent-1', 'oci')
        const byAgent = await readdir(folder).catch(() => [])
        seen = `${ready} are ready; there are ${JSON.stringify([byAgent, byEngine], null, 1)}`
        return byEngine.length + byAgent.length === ready
      },
      30_000,
      () => seen,
    )
  } finally {
    close()
  }
})
