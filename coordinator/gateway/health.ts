/**
 * Is it up, is it ready, what is it. The first three need no account; /info and /version are
 * Docker's shapes as far as they apply, with what is ours under `Hyper`.
 */

import type { FastifyInstance } from 'fastify'
import { limits } from '../../protocol/limits.ts'
import type { Account, AgentView } from '../ports.ts'
import { accountOf } from './auth.ts'
import type { Gateway } from './context.ts'

/** The API whose shapes these are. */
const API_VERSION = '1.23'

const PROBES = ['GET', 'HEAD']

const infoOf = (gateway: Gateway, account: Account) => {
  const { agents, images } = gateway.ports
  const overview = gateway.ports.overview()
  const connected = agents.list().filter(({ connected }) => connected)
  const sum = (number: (agent: AgentView) => number): number =>
    connected.reduce((total, agent) => total + number(agent), 0)
  const usage = overview.usage(account)
  return {
    ID: overview.peerId,
    Name: 'hyper-func',
    ServerVersion: overview.version,
    OperatingSystem: 'Hyper Func',
    OSType: process.platform,
    Architecture: process.arch,
    MemTotal: sum((agent) => agent.memoryBytes),
    Images: images.list(account).length,
    Containers: usage.running,
    ContainersRunning: usage.running,
    Hyper: {
      version: overview.version,
      account: account.name,
      quota: account.quota,
      ...usage,
      operator: account.operator,
      peerId: overview.peerId,
      mesh: overview.mesh,
      publicUrl: gateway.ports.publicUrl(),
      agents: {
        connected: connected.length,
        slots: sum((agent) => agent.slots),
        free: sum((agent) => agent.free),
      },
    },
  }
}

export const registerProbes = (app: FastifyInstance, gateway: Gateway): void => {
  app.route({
    method: PROBES,
    url: '/healthz',
    handler: (_request, reply) => reply.type('text/plain; charset=utf-8').send('ok'),
  })

  app.route({
    method: PROBES,
    url: '/readyz',
    handler: (_request, reply) => {
      const { notReady } = gateway.ports.overview()
      const reasons = gateway.isStopping() ? ['stopping', ...notReady] : notReady
      if (reasons.length === 0) return reply.type('text/plain; charset=utf-8').send('ready')
      reply.code(503).header('Retry-After', limits.retryAfterSeconds)
      return reply.send({ ready: false, reasons })
    },
  })

  app.route({
    method: PROBES,
    url: '/_ping',
    handler: (_request, reply) =>
      reply.header('API-Version', API_VERSION).type('text/plain; charset=utf-8').send('OK'),
  })
}

export const registerInfo = (app: FastifyInstance, gateway: Gateway): void => {
  app.get('/info', async (request) => infoOf(gateway, accountOf(request)))

  app.get('/version', async () => ({
    Version: gateway.ports.overview().version,
    ApiVersion: API_VERSION,
    MinAPIVersion: API_VERSION,
    Os: process.platform,
    Arch: process.arch,
    Engine: 'hyper-func',
  }))
}
