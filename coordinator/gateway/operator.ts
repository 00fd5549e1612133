/** /agents, /invites, /accounts and /backup: what only the operator's account may see and change. */

import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { LabelsSchema } from '../../protocol/labels.ts'
import { limits } from '../../protocol/limits.ts'
import { createParser } from '../../protocol/schema.ts'
import type { Account, Overview } from '../ports.ts'
import { requireOperator } from './auth.ts'
import { registerBackup } from './backup.ts'
import { readJson } from './body.ts'
import type { Gateway } from './context.ts'

type AgentPath = { Params: { agent: string } }
type AccountPath = { Params: { name: string } }

const Quota = Type.Integer({ minimum: 0, maximum: limits.quotaMax })

const parseInvite = createParser(
  Type.Object({
    uses: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.inviteUsesMax })),
    expiresMs: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.inviteMsMax })),
    labels: Type.Optional(LabelsSchema),
    lan: Type.Optional(Type.Boolean()),
  }),
  'BAD_PARAMETER',
  'invite',
)
const parseAccount = createParser(
  Type.Object({ name: Type.String(), quota: Type.Optional(Quota) }),
  'BAD_PARAMETER',
  'account',
)
const parseQuota = createParser(Type.Object({ quota: Quota }), 'BAD_PARAMETER', 'account')

const registerAgents = (app: FastifyInstance, gateway: Gateway): void => {
  const { agents } = gateway.ports

  app.get('/agents', async () => agents.list())

  app.post<AgentPath>('/agents/:agent/drain', async (request, reply) => {
    await agents.drain(request.params.agent, true)
    return reply.code(204).send()
  })

  app.post<AgentPath>('/agents/:agent/undrain', async (request, reply) => {
    await agents.drain(request.params.agent, false)
    return reply.code(204).send()
  })

  app.delete<AgentPath>('/agents/:agent', async (request, reply) => {
    await agents.remove(request.params.agent)
    return reply.code(204).send()
  })

  app.post('/invites', async (request, reply) => {
    const {
      uses = 1,
      expiresMs = limits.inviteMsDefault,
      labels = {},
      lan = false,
    } = parseInvite((await readJson(gateway, request, reply)) ?? {})
    return reply.code(201).send(await agents.invite({ uses, expiresMs, labels, lan }))
  })
}

const registerAccounts = (app: FastifyInstance, gateway: Gateway): void => {
  const { accounts } = gateway.ports
  const view = (account: Account, usage: Overview['usage']) => ({
    name: account.name,
    quota: account.quota,
    operator: account.operator,
    ...usage(account),
    created: account.created,
    accessKey: account.accessKey,
  })

  app.get('/accounts', async () => {
    const { usage } = gateway.ports.overview()
    return accounts.list().map((account) => view(account, usage))
  })

  app.post('/accounts', async (request, reply) => {
    const { name, quota = limits.quotaDefault } = parseAccount(
      await readJson(gateway, request, reply),
    )
    return reply.code(201).send(await accounts.create(name, quota))
  })

  app.put<AccountPath>('/accounts/:name', async (request, reply) => {
    const { quota } = parseQuota(await readJson(gateway, request, reply))
    const account = await accounts.setQuota(request.params.name, quota)
    return view(account, gateway.ports.overview().usage)
  })

  app.post<AccountPath>('/accounts/:name/rotate', (request) => accounts.rotate(request.params.name))

  app.delete<AccountPath>('/accounts/:name', async (request, reply) => {
    await accounts.remove(request.params.name)
    return reply.code(204).send()
  })
}

export const registerOperator = (app: FastifyInstance, gateway: Gateway): void => {
  app.addHook('onRequest', async (request) => requireOperator(request))
  registerAgents(app, gateway)
  registerAccounts(app, gateway)
  registerBackup(app, gateway)
}
