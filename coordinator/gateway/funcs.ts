/** /funcs: create, list, look at, change and remove functions of the request's account. */

import type { FastifyInstance } from 'fastify'
import { isCallId } from '../../protocol/call.ts'
import { HyperError } from '../../protocol/errors.ts'
import type { Func } from '../../protocol/func.ts'
import { parseFuncCreate, parseFuncUpdate } from '../../protocol/func-request.ts'
import type { StoredFunc } from '../ports.ts'
import { accountOf } from './auth.ts'
import { readJson } from './body.ts'
import type { Gateway } from './context.ts'
import { readQuery } from './query.ts'

type Named = { Params: { name: string } }

const FILTERS = ['name', 'image', 'size']

const matches = (func: Func, filters: ReadonlyMap<string, readonly string[]>): boolean => {
  const values = { name: func.Name, image: func.Config.Image, size: func.ContainerSize }
  return Object.entries(values).every(([filter, value]) => {
    const wanted = filters.get(filter)
    return wanted === undefined || wanted.length === 0 || wanted.includes(value)
  })
}

const noSuchFunc = (name: string): HyperError =>
  new HyperError('FUNC_NOT_FOUND', `no such function: ${name}`)

export const registerFuncs = (app: FastifyInstance, gateway: Gateway): void => {
  const { funcs, calls } = gateway.ports

  app.post('/funcs/create', async (request, reply) => {
    const spec = parseFuncCreate(await readJson(gateway, request, reply))
    // Takes as long as the pull of its image, where that is not known yet.
    const stored = await funcs.create(accountOf(request), spec)
    return reply.code(201).send(stored.func)
  })

  app.get('/funcs', async (request): Promise<Func[]> => {
    const filters = readQuery(request.query).filters(FILTERS)
    return funcs
      .list(accountOf(request))
      .map((stored) => stored.func)
      .filter((func) => matches(func, filters))
  })

  app.get<Named>('/funcs/:name', async (request): Promise<Func> => {
    const { name } = request.params
    const stored = funcs.get(accountOf(request), name)
    if (stored === null) throw noSuchFunc(name)
    return stored.func
  })

  app.put<Named>('/funcs/:name', async (request, reply): Promise<Func> => {
    const { name } = request.params
    const update = parseFuncUpdate(await readJson(gateway, request, reply))
    return (await funcs.update(accountOf(request), name, update)).func
  })

  app.delete<Named>('/funcs/:name', async (request, reply) => {
    const force = readQuery(request.query).flag('force')
    await funcs.remove(accountOf(request), request.params.name, force)
    return reply.code(204).send()
  })

  app.get<{ Params: { callId: string } }>('/funcs/call/:callId', async (request): Promise<Func> => {
    const { callId } = request.params
    const account = accountOf(request)
    const stored: StoredFunc | null = isCallId(callId) ? await calls.funcOf(account, callId) : null
    if (stored === null) throw new HyperError('CALL_NOT_FOUND', 'no such call')
    return stored.func
  })
}
