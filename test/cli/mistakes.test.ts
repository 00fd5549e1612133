/** What a newcomer does wrong is said by what was written, with what to write instead. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createSocketServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createBackupEncoder } from '../../protocol/backup.ts'
import { environmentFor, runHyper } from '../support/deployment.ts'
import { startGatewayStub } from '../support/gateway-stub.ts'

const folderFor = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'hyper-mistakes-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const refusal = async (
  home: string,
  args: readonly string[],
  options: { input?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<readonly [number, string]> => {
  const { code, stderr } = await runHyper(args, { home, ...options })
  return [code, stderr]
}

const portOf = async (t: TestContext, server: Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

test('a HYPER_HOME that can be no folder is named, whichever command it is', async (t) => {
  const file = join(await folderFor(t), 'file')
  await writeFile(file, '')
  for (const home of [file, join(file, 'below')]) {
    const wanted = `hyper: HYPER_HOME: ${home} is no folder and cannot be made one: name another place\n`
    for (const command of ['coordinator', 'agent', 'func ls', 'restore x']) {
      assert.deepEqual(await refusal(home, command.split(' ')), [2, wanted])
    }
  }
})

test('a state folder that cannot be made is told without a stack', async () => {
  for (const command of ['coordinator', 'agent']) {
    const [code, stderr] = await refusal('/sys/hyper', [command])
    assert.equal(code, 1)
    assert.match(stderr, /^hyper: the state folder \/sys\/hyper\/[-a-z1]+ cannot be made: E/)
    assert.equal(stderr.split('\n').length, 2, stderr)
  }
})

test('a backup that cannot be written names the folder that is missing', async (t) => {
  const folder = await folderFor(t)
  const stub = await startGatewayStub((_asked, response) => {
    response.end(createBackupEncoder().end())
  })
  t.after(stub.close)
  const env = { HYPER_ENDPOINT: stub.endpoint, HYPER_TOKEN: 'secret' }
  const name = join(folder, 'none', 'file')
  assert.deepEqual(await refusal(folder, ['backup', name], { env }), [
    2,
    `hyper: ${name} cannot be written: there is no folder ${join(folder, 'none')}\n`,
  ])
})

test('a restore of no file says that there is none', async (t) => {
  const folder = await folderFor(t)
  const none = join(folder, 'none')
  assert.deepEqual(await refusal(folder, ['restore', none]), [
    1,
    `hyper: there is no file ${none}. Give a file that \`hyper backup FILE\` wrote.\n`,
  ])
})

test('a login where no coordinator answers says what does', async (t) => {
  const home = await folderFor(t)
  const page = createServer((_request, response) => response.end('<html></html>'))
  const refusing = createServer((_request, response) => response.writeHead(404).end('no\npage'))
  const foreign = createSocketServer((socket) => socket.end('SSH-2.0\r\n'))
  const [onPage, onRefusing, onForeign] = [
    await portOf(t, page),
    await portOf(t, refusing),
    await portOf(t, foreign),
  ]
  const login = async (url: string): Promise<string> => {
    const [code, stderr] = await refusal(home, ['login', url], { input: 'token' })
    assert.notEqual(code, 0)
    return stderr
  }
  const at = (port: number): string => `http://127.0.0.1:${port}`
  const start =
    'Start it with `npm start` or `hyper up`, or name another: with --endpoint, or by a new ticket.\n'
  assert.deepEqual(
    [
      await login(at(onPage)),
      await login(at(onRefusing)),
      await login(at(onForeign)),
      await login(`https://127.0.0.1:${onPage}`),
    ],
    [
      `hyper: what answers there is no coordinator: its answer to /info is no JSON. ${start}`,
      'hyper: what answers there is no coordinator; it says 404: no page\n',
      `hyper: cannot reach the coordinator at ${at(onForeign)}: what answers there speaks no HTTP. ${start}`,
      `hyper: cannot reach the coordinator at https://127.0.0.1:${onPage}: what answers there speaks no TLS; a coordinator without it is an http:// URL. ${start}`,
    ],
  )
})

test('a wrong flag of a function is told by the flag', async (t) => {
  const home = await folderFor(t)
  const wrong = [
    ['--profile x', '--profile: "x" is none of default, strict, compat'],
    ['--network host', '--network: "host" is none of bridge, none'],
    ['--timeout 25h', '--timeout: 25h is longer than 24h'],
    ['--queue-timeout 8d', '--queue-timeout: 8d is longer than 168h'],
    ['--max-attempts 0', '--max-attempts: "0" is not a whole number from 1 to 100'],
    ['--retry-on-exit 101', '--retry-on-exit: "101" is not a whole number from 0 to 100'],
    ['-w tmp', '--workdir: "tmp" does not start with /'],
  ]
  for (const [flags = '', message] of wrong) {
    const args = ['func', 'create', '--name', 'f', ...flags.split(' '), 'ubuntu']
    assert.deepEqual(await refusal(home, args), [2, `hyper: ${message}\n`])
  }
})

test('a file of a function’s environment is not one of Node’s own', async (t) => {
  const folder = await folderFor(t)
  // As it is installed: a program that its first line says how to start.
  await mkdir(join(folder, 'cli'))
  const main = new URL('../../cli/main.ts', import.meta.url).pathname
  const [firstLine = ''] = (await readFile(main, 'utf8')).split('\n')
  const program = join(folder, 'cli', 'main.mjs')
  await writeFile(program, `${firstLine}\nimport ${JSON.stringify(main)}\n`)
  await chmod(program, 0o755)
  const create = (file: string) => {
    const args = ['func', 'create', '--name', 'f', '--env-file', file, 'ubuntu']
    return spawnSync(program, args, { encoding: 'utf8', env: environmentFor(folder) })
  }
  const none = create(join(folder, 'none'))
  assert.equal(none.status, 2)
  assert.match(none.stderr, /^hyper: cannot read --env-file .*none/)
  const file = join(folder, 'environment')
  await writeFile(file, 'NODE_OPTIONS=--wrong\n')
  assert.match(create(file).stderr, /^hyper: cannot reach/)
})
