/** The other client commands as processes, against a stub of the gateway. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type CommandResult, readContext, runHyper } from '../support/deployment.ts'
import {
  type GatewayStub,
  type Respond,
  STUB_CALL_ID,
  STUB_FUNC,
  STUB_INFO,
  sendError,
  sendJson,
  startGatewayStub,
} from '../support/gateway-stub.ts'

const folderFor = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'hyper-cli-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

type Hyper = (args: readonly string[], input?: string) => Promise<CommandResult>

const startStub = async (
  t: TestContext,
  respond: Respond,
): Promise<GatewayStub & { hyper: Hyper }> => {
  const stub = await startGatewayStub(respond)
  t.after(stub.close)
  const env = { HYPER_ENDPOINT: stub.endpoint, HYPER_TOKEN: 'secret' }
  const hyper: Hyper = (args, input) =>
    runHyper(args, { home: '/nonexistent/h', env, ...(input === undefined ? {} : { input }) })
  return { ...stub, hyper }
}

test('a function is created from flags and from what stands after IMAGE', async (t) => {
  const { hyper, asked } = await startStub(t, ({ path }, response) => {
    if (path === '/info') sendJson(response, STUB_INFO)
    else sendJson(response, STUB_FUNC, 201)
  })
  const folder = await folderFor(t)
  const file = join(folder, 'env')
  await writeFile(file, '# words\nA=file\nB=2\n')
  const flags = `--name hi --size s1 --timeout 5m -e A=b=c --env-file ${file} -l k=v -w /tmp -u 7`
  const more = '--at-most-once --max-attempts 2 --queue-timeout 1h --network none --entrypoint sh'
  const tail = ['img', 'convert', '-', '-resize', '50%', 'fd:1', '--', '--json']
  const { stdout, stderr } = await hyper([
    ...['func', 'create', ...flags.split(' '), ...more.split(' '), '--constraint', 'gpu=yes'],
    ...tail,
  ])
  assert.equal(stderr, '')
  assert.equal(
    stdout.toString(),
    `hi is created with the address of https://hyper.example.com/call/hi/${STUB_FUNC.UUID}\n`,
  )
  assert.deepEqual(JSON.parse(asked[0]?.body.toString() ?? ''), {
    Name: 'hi',
    ContainerSize: 's1',
    Timeout: 300,
    Config: {
      Image: 'img',
      Cmd: tail.slice(1),
      Entrypoint: ['sh'],
      Env: ['A=b=c', 'B=2'],
      WorkingDir: '/tmp',
      User: '7',
      Labels: { k: 'v' },
    },
    HostConfig: { NetworkMode: 'none' },
    MaxAttempts: 2,
    AtMostOnce: true,
    QueueTimeout: 3600,
    Constraints: { gpu: 'yes' },
  })
})

test('functions are listed as a table, as JSON, or by name', async (t) => {
  const { hyper, asked } = await startStub(t, (_asked, response) => sendJson(response, [STUB_FUNC]))
  const [table, json, quiet] = await Promise.all([
    hyper(['func', 'ls', '-f', 'name=hi', '-f', 'name=ho']),
    hyper(['func', 'ls', '--json']),
    hyper(['-q', 'func', 'ls']),
  ])
  const [head = '', row = ''] = table.stdout.toString().split('\n')
  assert.match(head, /^NAME +SIZE +IMAGE +COMMAND +CREATED +UUID$/)
  assert.match(row, /^hi +s4 +busybox +echo 'a b' +\d+ years ago +0f1e2d3c-/)
  assert.equal(row.indexOf('s4'), head.indexOf('SIZE'))
  assert.deepEqual(JSON.parse(json.stdout.toString()), [STUB_FUNC])
  assert.equal(quiet.stdout.toString(), 'hi\n')
  const filtered = asked.find(({ query }) => query.has('filters'))
  assert.equal(filtered?.query.get('filters'), '{"name":["hi","ho"]}')
})

test('inspect prints what there is and says what there is not', async (t) => {
  const { hyper } = await startStub(t, ({ path }, response) => {
    if (path === '/funcs/hi') sendJson(response, STUB_FUNC)
    else sendError(response, 404, 'FUNC_NOT_FOUND', 'no such function: x. See `hyper func ls`.')
  })
  const [both, filled] = await Promise.all([
    hyper(['func', 'inspect', 'hi', 'x']),
    hyper(['func', 'inspect', '-f', '{{.Config.Image}} {{json .Config.Env}}', 'hi']),
  ])
  assert.equal(both.code, 3)
  assert.deepEqual(JSON.parse(both.stdout.toString()), [STUB_FUNC])
  assert.equal(both.stderr, 'hyper: no such function: x. See `hyper func ls`.\n')
  assert.equal(filled.stdout.toString(), 'busybox ["A=1"]\n')
})

test('errors are one line, or JSON where JSON is asked for', async (t) => {
  const { hyper } = await startStub(t, (_asked, response) =>
    sendError(response, 401, 'UNAUTHORIZED', 'no account has this token'),
  )
  const [plain, json, usage] = await Promise.all([
    hyper(['func', 'ls']),
    hyper(['func', 'ls', '--json']),
    hyper(['func', 'update', 'hi']),
  ])
  assert.equal(plain.code, 4)
  assert.match(plain.stderr, /^hyper: no account has this token\. .*hyper login.*\n$/)
  assert.equal(json.code, 4)
  assert.equal(JSON.parse(json.stderr).code, 'UNAUTHORIZED')
  assert.equal(usage.code, 2)
  assert.match(usage.stderr, /nothing to update/)
})

test('an empty file of variables clears them, and the update prints the name', async (t) => {
  const { hyper, asked } = await startStub(t, (_asked, response) => sendJson(response, STUB_FUNC))
  const { stdout } = await hyper(['func', 'update', '--env-file', '/dev/null', '--refresh', 'hi'])
  assert.equal(stdout.toString(), 'hi\n')
  const body: unknown = JSON.parse(asked[0]?.body.toString() ?? '')
  assert.deepEqual(body, { Refresh: true, Config: { Env: [] } })
})

test('functions that can be removed are, and the others are told', async (t) => {
  const { hyper, asked } = await startStub(t, ({ path }, response) => {
    if (path === '/funcs/busy') sendError(response, 409, 'FUNC_BUSY', 'busy has calls')
    else response.writeHead(204).end()
  })
  const { code, stdout, stderr } = await hyper(['func', 'rm', '-f', 'a', 'busy', 'b'])
  assert.equal(code, 1)
  assert.equal(stdout.toString(), 'a\nb\n')
  assert.match(stderr, /busy has calls/)
  assert.ok(asked.every(({ query }) => query.get('force') === '1'))
})

test('log lines are in the original’s words, one an event', async (t) => {
  const line = (Event: string, fields: object): string =>
    `${JSON.stringify({ Seq: 1, Time: '2017-03-16T15:05:58.123Z', Event, CallId: 'id', ShortStdin: '', ShortStdout: '', ShortStderr: '', Message: '', ...fields })}\n`
  const { hyper, asked } = await startStub(t, ({ path }, response) => {
    if (path.startsWith('/funcs/')) return sendJson(response, STUB_FUNC)
    response.write(line('CALL', { ShortStdin: 'in' }) + line('PENDING', {}) + line('RUNNING', {}))
    response.write(line('PENDING', { Message: 'needs 2 GB' }))
    response.write(line('FINISHED', { ShortStdout: 'a\nb\n', ShortStderr: 'é' }))
    return response.end(line('FAILED', { Message: 'timed out' }))
  })
  const { stdout } = await hyper(['func', 'logs', '--tail', '5', '--callid', STUB_CALL_ID, 'hi'])
  assert.deepEqual(stdout.toString().split('\n'), [
    '2017-03-16T15:05:58Z [CALL] CallId: id, ShortStdin: in',
    '2017-03-16T15:05:58Z [PENDING] CallId: id',
    '2017-03-16T15:05:58Z [RUNNING] CallId: id',
    '2017-03-16T15:05:58Z [PENDING] CallId: id, Message: needs 2 GB',
    '2017-03-16T15:05:58Z [FINISHED] CallId: id, ShortStdout: a\\nb, ShortStderr: é',
    '2017-03-16T15:05:58Z [FAILED] CallId: id, Message: timed out',
    '',
  ])
  assert.equal(asked.at(-1)?.query.toString(), `callid=${STUB_CALL_ID}&tail=5`)
})

test('why calls wait is told beside their counts, and only where they do', async (t) => {
  const counts = { Total: 1, Pending: 1, Running: 0, Finished: 0, Failed: 0 }
  let Waiting: string | undefined = 'needs 2 GB; 3 agents, none with more than 1 GB free'
  const { hyper } = await startStub(t, ({ path }, response) =>
    path.startsWith('/funcs/')
      ? sendJson(response, STUB_FUNC)
      : sendJson(response, { ...counts, Waiting }),
  )
  const { stdout, stderr } = await hyper(['func', 'status', 'hi'])
  assert.equal(stdout.toString().trimEnd().split('\n').length, 2, 'the table is as it was')
  assert.equal(stderr, `waiting: ${Waiting}\n`)
  const json = await hyper(['--json', 'func', 'status', 'hi'])
  assert.deepEqual(JSON.parse(json.stdout.toString()), { ...counts, Waiting })
  Waiting = undefined
  assert.equal((await hyper(['func', 'status', 'hi'])).stderr, '')
})

test('a pull prints each status once, and fails when the stream says so', async (t) => {
  let isBroken = false
  const { hyper, asked } = await startStub(t, (_asked, response) => {
    const progress = (current: number): string =>
      `{"status":"Downloading","id":"a1","progressDetail":{"current":${current},"total":9}}\n`
    response.write(`{"status":"Pulling from busybox","id":"latest"}\n${progress(1)}${progress(2)}`)
    response.end(isBroken ? '{"errorDetail":{"message":"no way"},"error":"no way"}\n' : '')
  })
  const good = await hyper(['pull', 'host:5000/busybox'])
  assert.equal(good.stdout.toString(), 'latest: Pulling from busybox\na1: Downloading\n')
  assert.equal(asked[0]?.query.toString(), 'fromImage=host%3A5000%2Fbusybox&tag=latest')
  isBroken = true
  const bad = await hyper(['pull', 'busybox'])
  assert.equal(bad.code, 1)
  assert.match(bad.stderr, /^hyper: no way\. .*\n$/)
})

test('login keeps a token that works, for its owner only', async (t) => {
  const stub = await startStub(t, ({ headers }, response) => {
    if (headers.authorization === 'Bearer good') sendJson(response, STUB_INFO)
    else sendError(response, 401, 'UNAUTHORIZED', 'no account has this token')
  })
  const home = join(await folderFor(t), 'home')
  const bad = await runHyper(['login', stub.endpoint], { home, input: 'bad\n' })
  assert.equal(bad.code, 4)
  await assert.rejects(stat(join(home, 'client.json')))
  const good = await runHyper(['login', stub.endpoint, '--context', 'mine'], {
    home,
    input: 'good\n',
  })
  assert.match(good.stdout.toString(), /as default \(context mine\)/)
  assert.equal((await stat(join(home, 'client.json'))).mode & 0o777, 0o600)
  assert.equal((await stat(home)).mode & 0o777, 0o700)
  assert.deepEqual(await readContext(home), { endpoint: stub.endpoint, token: 'good' })
  const info = await runHyper(['info', '--json'], { home })
  assert.equal(JSON.parse(info.stdout.toString()).account, 'default')
  const removed = await runHyper(['context', 'rm', 'mine'], { home })
  assert.equal(removed.stdout.toString(), 'mine\n')
})

test('an invitation as JSON has its four fields', async (t) => {
  const made = { ticket: 'T', peerId: 'P', expires: '2030-01-01T00:00:00.000Z', uses: 2 }
  const { hyper, asked } = await startStub(t, (_asked, response) => sendJson(response, made, 201))
  const words = ['--json', 'invite', '--uses', '2', '--expires', '30m', '--label', 'zone=eu=1']
  const { stdout } = await hyper(words)
  assert.deepEqual(JSON.parse(stdout.toString()), made)
  const body: unknown = JSON.parse(asked[0]?.body.toString() ?? '')
  assert.deepEqual(body, { uses: 2, expiresMs: 1_800_000, labels: { zone: 'eu=1' } })
})

test('a reader that stops early is no failure', () => {
  const main = new URL('../../cli/main.ts', import.meta.url).pathname
  const { stderr, stdout } = spawnSync(
    'sh',
    ['-c', `"$0" "$1" completion bash | head -n 1; true`, process.execPath, main],
    { encoding: 'utf8' },
  )
  assert.equal(stderr, '')
  assert.equal(stdout, '_hyper() {\n')
})
