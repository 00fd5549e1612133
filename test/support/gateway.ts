/** A gateway on a free port for one test, in front of fake ports, and raw sockets to speak to it. */

import { connect, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import { type GatewayOptions, startGateway } from '../../coordinator/gateway/server.ts'
import { eventually } from './eventually.ts'
import { createFakePorts, TOKEN, UUID } from './fake-ports.ts'

const WAIT_MS = 10_000

export const CALL_PATH = `/call/f/${UUID}`

type Fake = ReturnType<typeof createFakePorts>

export const startTestGateway = async (
  t: TestContext,
  fake: Fake = createFakePorts(),
  options: Partial<GatewayOptions> = {},
) => {
  const logged: string[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => void logged.push(line) })
  const gateway = await startGateway({
    ports: fake.ports,
    listenHost: '127.0.0.1',
    listenPort: 0,
    insecure: false,
    tls: null,
    log,
    isStopping: () => false,
    ...options,
  })
  t.after(() => gateway.close(0))
  return { ...fake, gateway, url: gateway.url, logged, open: () => openSocket(t, gateway.port) }
}

/** A raw connection that gathers what it hears. */
const openSocket = async (t: TestContext, port: number) => {
  const socket: Socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  let isEnded = false
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('error', () => undefined)
  socket.on('close', () => {
    isEnded = true
  })
  t.after(() => socket.destroy())
  await new Promise<void>((resolve) => socket.once('connect', resolve))
  const heard = (): string => Buffer.concat(chunks).toString('latin1')
  return {
    socket,
    chunks,
    heard,
    send: (...lines: string[]): void => void socket.write(lines.join('\r\n')),
    waitFor: (text: string) => until(() => heard().includes(text), `${text} in ${heard()}`),
    waitForEnd: () => until(() => isEnded, 'the end of the connection'),
  }
}

/** `eventually`, with what is waited for as its complaint. */
export const until = async (holds: () => boolean, what: string): Promise<void> => {
  await eventually(holds, WAIT_MS, () => `waited in vain for ${what}`)
}

export const BEARER = { authorization: `Bearer ${TOKEN}` }
