/**
 * An HTTP server that stands where the coordinator's gateway would: a test says what it answers,
 * and reads what it was asked. Listens on a port of its own choice.
 */

import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export type Respond = (asked: Asked, response: ServerResponse) => void

export interface GatewayStub {
  readonly endpoint: string
  /** In the order in which they came. */
  readonly asked: readonly Asked[]
  readonly close: () => Promise<void>
}

export const STUB_FUNC = {
  Name: 'hi',
  UUID: '0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9',
  ContainerSize: 's4',
  Timeout: 300,
  Created: '2017-03-16T07:05:24.473Z',
  Config: { Image: 'busybox', Cmd: ['echo', 'a b'], Entrypoint: null, Env: ['A=1'] },
  Revision: 1,
}

export const STUB_CALL_ID = '218b7b10-8a04-4d3c-8a44-0d2b6d1f6c5e'

export const STUB_INFO = {
  Hyper: {
    version: '9.9.9',
    account: 'default',
    quota: 10,
    running: 0,
    waiting: 0,
    operator: true,
    peerId: '12D3KooWStub',
    mesh: ['/ip4/127.0.0.1/tcp/7481'],
    publicUrl: 'https://hyper.example.com',
    agents: { connected: 1, slots: 8, free: 8 },
  },
}

export const sendJson = (response: ServerResponse, value: unknown, status = 200): void => {
  response.writeHead(status, { 'Content-Type': 'application/json' })
  response.end(JSON.stringify(value))
}

export const sendError = (
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
): void => {
  response.writeHead(status, { 'Content-Type': 'text/plain', 'X-Hyper-Error': code })
  response.end(message)
}

/** What a final answer carries. */
export const finalHeaders = (reason: string, exitCode?: number): Record<string, string> => ({
  'X-Hyper-Call-Id': STUB_CALL_ID,
  'X-Hyper-Attempt': '1',
  'X-Hyper-Reason': reason,
  ...(exitCode === undefined ? {} : { 'X-Hyper-Exit-Code': String(exitCode) }),
})

export const startGatewayStub = async (respond: Respond): Promise<GatewayStub> => {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://stub')
      const one: Asked = {
        method: request.method ?? '',
        path: url.pathname,
        query: url.searchParams,
        headers: request.headers,
        body: Buffer.concat(chunks),
      }
      asked.push(one)
      respond(one, response)
    })
    request.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    endpoint: `http://127.0.0.1:${port}`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
