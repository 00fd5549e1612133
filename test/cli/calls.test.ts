/** `hyper func call` and `func get` as processes: bytes, exit codes, one-line errors. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { type TestContext, test } from 'node:test'
import { exitCodeOf } from '../../client/calls.ts'
import { type ErrorCode, HyperError } from '../../protocol/errors.ts'
import { type CommandResult, ended, runHyper, startHyper } from '../support/deployment.ts'
import { eventually } from '../support/eventually.ts'
import {
  type Asked,
  finalHeaders,
  type GatewayStub,
  STUB_CALL_ID,
  STUB_FUNC,
  sendError,
  sendJson,
  startGatewayStub,
} from '../support/gateway-stub.ts'

const HOME = '/nonexistent/hyper-home'
const CALL = `/call/hi/${STUB_FUNC.UUID}`
const OUTPUT = `/output/hi/${STUB_FUNC.UUID}/${STUB_CALL_ID}`

/** Knows the function; the call plane is the test's. */
const startStub = async (
  t: TestContext,
  respond: (asked: Asked, response: ServerResponse) => void,
): Promise<GatewayStub & { hyper: typeof hyper }> => {
  const stub = await startGatewayStub((asked, response) => {
    if (asked.path.startsWith('/funcs/')) sendJson(response, STUB_FUNC)
    else respond(asked, response)
  })
  t.after(stub.close)
  const env = { HYPER_ENDPOINT: stub.endpoint, HYPER_TOKEN: 'secret' }
  const hyper = (args: readonly string[], input?: Uint8Array | string): Promise<CommandResult> =>
    runHyper(args, { home: HOME, env, ...(input === undefined ? {} : { input }) })
  return { ...stub, hyper }
}

const isOneLine = (text: string): boolean => /^[^\n]+\n$/.test(text)

test('STDIN reaches the function and STDOUT the caller byte for byte', async (t) => {
  const { hyper, asked } = await startStub(t, ({ body }, response) => {
    response.writeHead(200, finalHeaders('FINISHED', 0))
    response.end(body)
  })
  const payload = randomBytes(1024 * 1024)
  const { code, stdout, stderr } = await hyper(['func', 'call', '--sync', 'hi'], payload)
  assert.equal(stderr, '')
  assert.equal(code, 0)
  assert.ok(stdout.equals(payload))
  assert.equal(asked.at(-1)?.path, `${CALL}/sync`)
  assert.equal(asked.at(-1)?.headers['content-length'], String(payload.byteLength))
  assert.equal(asked[0]?.headers.authorization, 'Bearer secret')
  assert.equal(asked.at(-1)?.headers.authorization, undefined)
})

test('an asynchronous call prints its id, and /dev/null is no payload', async (t) => {
  const { hyper, asked } = await startStub(t, (_asked, response) =>
    sendJson(response, { CallId: STUB_CALL_ID }),
  )
  const plain = await hyper(['func', 'call', 'hi'])
  assert.equal(plain.stdout.toString(), `CallId: ${STUB_CALL_ID}\n`)
  assert.equal(asked.at(-1)?.path, CALL)
  assert.equal(asked.at(-1)?.body.byteLength, 0)
  const json = await hyper(['--json', 'func', 'call', 'hi', '--no-stdin'], 'not sent')
  assert.deepEqual(JSON.parse(json.stdout.toString()), { CallId: STUB_CALL_ID })
  assert.equal(asked.at(-1)?.body.byteLength, 0)
})

test('a payload over 1 MB is refused before the call is made', async (t) => {
  const { hyper, asked } = await startStub(t, (_asked, response) => sendJson(response, {}))
  const payload = new Uint8Array(1024 * 1024 + 1)
  const { code, stderr } = await hyper(['func', 'call', '--sync', 'hi'], payload)
  assert.equal(code, 125)
  assert.match(stderr, /too large\. Send at most 1 MB/)
  assert.ok(asked.every(({ method }) => method === 'GET'))
})

test('the exit code is the function’s own, or says what happened to it', async (t) => {
  const cases = [
    ['CALL_EXITED', 500, 3, 3],
    ['CALL_TIMED_OUT', 504, undefined, 124],
    ['COMMAND_NOT_FOUND', 500, undefined, 127],
    ['AGENT_LOST', 500, undefined, 125],
  ] as const
  let at = 0
  const { hyper } = await startStub(t, (_asked, response) => {
    const [reason, status, exitCode] = cases[at] ?? cases[0]
    // As the gateway does: a final answer that failed names its reason as an error, too.
    response.writeHead(status, { ...finalHeaders(reason, exitCode), 'X-Hyper-Error': reason })
    response.end(`why ${reason}`)
  })
  for (const [reason, , , expected] of cases) {
    const { code, stdout, stderr } = await hyper(['func', 'get', '--wait', STUB_CALL_ID])
    assert.equal(code, expected, reason)
    assert.equal(stdout.byteLength, 0)
    assert.match(stderr, new RegExp(`why ${reason}`))
    at += 1
  }
})

test('every end of a call has the exit code that the table promises', () => {
  const codeOf = (reason: ErrorCode, exitCode: number | null): number =>
    exitCodeOf({
      ...{ state: 'failed', callId: STUB_CALL_ID, attempt: 1, exitCode },
      error: new HyperError(reason, ''),
    })
  assert.equal(codeOf('CALL_SIGNALLED', 139), 139)
  assert.equal(codeOf('CALL_SIGNALLED', null), 137)
  assert.equal(codeOf('CALL_OUT_OF_MEMORY', 137), 137)
  assert.equal(codeOf('CALL_DISK_FULL', null), 137)
  assert.equal(codeOf('COMMAND_NOT_EXECUTABLE', 126), 126)
  assert.equal(codeOf('OUTPUT_TOO_LARGE', 0), 125)
  assert.equal(codeOf('CALL_CANCELLED', null), 125)
})

test('a call that has not ended is 75, with nothing on stdout', async (t) => {
  let status = 201
  const { hyper, asked } = await startStub(t, (_asked, response) => {
    response.writeHead(status, {
      'X-Hyper-Call-Id': STUB_CALL_ID,
      'X-Hyper-Reason': 'CALL_RUNNING',
    })
    response.end(status === 201 ? 'still running' : 'waiting in the queue: 3 calls before it')
  })
  const running = await hyper(['func', 'get', STUB_CALL_ID])
  assert.deepEqual([running.code, running.stdout.byteLength], [75, 0])
  assert.equal(running.stderr, 'still running\n')
  assert.equal(asked.at(-1)?.path, OUTPUT)
  status = 202
  const waiting = await hyper(['--json', 'func', 'get', STUB_CALL_ID])
  assert.deepEqual([waiting.code, waiting.stdout.byteLength], [75, 0])
  assert.equal(JSON.parse(waiting.stderr).code, 'CALL_WAITING')
})

test('what is not the function’s own is 125 with one line', async (t) => {
  const { hyper } = await startStub(t, (_asked, response) => {
    const line = 'the output has been fetched. Outputs can be fetched once, and for 60 s after it.'
    response.writeHead(410, { ...finalHeaders('OUTPUT_GONE'), 'X-Hyper-Error': 'OUTPUT_GONE' })
    response.end(line)
  })
  const gone = await hyper(['func', 'get', STUB_CALL_ID])
  assert.equal(gone.code, 125)
  assert.equal(gone.stderr.match(/fetched once/g)?.length, 1)
  assert.ok(isOneLine(gone.stderr))
})

test('an output that breaks off is no success', async (t) => {
  const { hyper } = await startStub(t, (_asked, response) => {
    response.writeHead(200, { ...finalHeaders('FINISHED', 0), 'Content-Length': '100' })
    response.write('half of it', () => response.destroy())
  })
  const { code, stdout, stderr } = await hyper(['func', 'get', STUB_CALL_ID])
  assert.equal(code, 125)
  assert.equal(stdout.toString(), 'half of it')
  assert.match(stderr, /broke off/)
})

test('errors outside of an output have their own exit codes', async (t) => {
  const { hyper } = await startStub(t, (_asked, response) =>
    sendError(response, 429, 'QUEUE_FULL', 'the queue is full. Wait for queued calls to end.'),
  )
  const full = await hyper(['func', 'call', 'hi'])
  assert.equal(full.code, 1)
  assert.equal(full.stderr, 'hyper: the queue is full. Wait for queued calls to end.\n')
  const env = { HYPER_ENDPOINT: 'http://127.0.0.1:9', HYPER_TOKEN: 'x' }
  const far = await runHyper(['func', 'call', 'hi'], { home: HOME, env })
  assert.equal(far.code, 5)
  assert.match(far.stderr, /^hyper: cannot reach the coordinator at http:\/\/127\.0\.0\.1:9: .*\n$/)
})

test('Ctrl-C ends a wait with 130', async (t) => {
  const stub = await startStub(t, () => undefined)
  const { child } = startHyper(['func', 'get', '--wait', STUB_CALL_ID], HOME, {
    HYPER_ENDPOINT: stub.endpoint,
    HYPER_TOKEN: 'x',
  })
  await eventually(() => stub.asked.some(({ path }) => path === `${OUTPUT}/wait`))
  child.kill('SIGINT')
  assert.equal(await ended(child), 130)
})
