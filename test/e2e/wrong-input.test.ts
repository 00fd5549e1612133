/**
 * Wrong input, from a user's side: for each the status, the exit code, and one clear line that says
 * what to do next. How calls go wrong is in wrong-calls.test.ts.
 */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Deployment, runHyper, startDeployment } from '../support/deployment.ts'
import { api, createFunc } from '../support/functions.ts'

/** Asked of a registry that answers: no such repository. */
const MISSING = `${process.env.HYPER_TEST_REGISTRY}/no/such-image`
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
    says: /is longer than 24h/,
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
