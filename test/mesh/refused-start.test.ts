/** A start that is refused leaves no state folder, which a restore could not take the place of. */

import assert from 'node:assert/strict'
import { access, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { CoordinatorConfig } from '../../protocol/daemon.ts'
import { startTestCoordinator } from '../support/coordinator.ts'

const newFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'refused-start-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const takePort = async (t: TestContext): Promise<number> => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

test('a wrong flag refuses a first start before anything is made', async (t) => {
  const folder = await newFolder(t)
  const foreign = join(folder, 'foreign')
  await writeFile(foreign, 'no certificate')
  const port = await takePort(t)
  const none = join(folder, 'none')
  const wrong: readonly [Partial<CoordinatorConfig>, string, RegExp][] = [
    [{ mesh: ['127.0.0.1:7481'] }, 'BAD_PARAMETER', /^--mesh: 127\.0\.0\.1:7481 is no multiaddr/],
    [{ announce: ['here'] }, 'BAD_PARAMETER', /^--announce: here is no multiaddr/],
    [{ tls: { certPath: none, keyPath: foreign } }, 'BAD_PARAMETER', /^--tls-cert: cannot be read/],
    [{ tls: { certPath: foreign, keyPath: none } }, 'BAD_PARAMETER', /^--tls-key: cannot be read/],
    [
      { tls: { certPath: foreign, keyPath: foreign } },
      'BAD_PARAMETER',
      /^--tls-cert and --tls-key/,
    ],
    [{ listenHost: '0.0.0.0' }, 'NOT_LOOPBACK', /^0\.0\.0\.0 can be reached/],
    [
      { listenHost: '192.0.2.250', insecure: true },
      'BAD_PARAMETER',
      /192\.0\.2\.250:0 \(--listen\)/,
    ],
    [{ listenPort: port }, 'ADDRESS_IN_USE', new RegExp(`127\\.0\\.0\\.1:${port} \\(--listen\\)`)],
    [{ mesh: ['/ip4/192.0.2.250/tcp/0'] }, 'BAD_PARAMETER', /192\.0\.2\.250\/tcp\/0 \(--mesh\)/],
    [
      { mesh: [`/ip4/127.0.0.1/tcp/${port}`] },
      'ADDRESS_IN_USE',
      new RegExp(`${port} \\(--mesh\\)`),
    ],
  ]
  const empty = await newFolder(t)
  await mkdir(join(empty, 'coordinator'))
  for (const [change, code, message] of wrong) {
    await assert.rejects(startTestCoordinator(t, folder, change), { code, message })
    await assert.rejects(access(join(folder, 'coordinator')), { code: 'ENOENT' })
    await assert.rejects(startTestCoordinator(t, empty, change), { code, message })
    assert.deepEqual(await readdir(join(empty, 'coordinator')), [])
  }
})

test('a second coordinator on one state is told so, and not of the ports', async (t) => {
  const folder = await newFolder(t)
  const { url } = await startTestCoordinator(t, folder)
  const listenPort = Number(new URL(url).port)
  await assert.rejects(startTestCoordinator(t, folder, { listenPort }), { code: 'STATE_IN_USE' })
})
