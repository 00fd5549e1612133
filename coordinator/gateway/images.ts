/**
 * /images: pull (a stream of Docker's progress objects), inspect, list; records in the shapes of
 * Docker's API, as far as the mesh knows what belongs in them.
 *
 * A pull's status is decided by its first line: an error before it has a status of its own, one
 * after it is a last line of the stream. Progress is for people: a reader that is far behind misses
 * lines of it rather than filling memory.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { HyperError, toHyperError } from '../../protocol/errors.ts'
import { type ImageRecord, parseReference } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import { createParser } from '../../protocol/schema.ts'
import { accountOf } from './auth.ts'
import { cutIfStalled, type Gateway, stoppingError } from './context.ts'
import { type Query, readQuery } from './query.ts'
import { sendRefusal } from './refusal.ts'

const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/

const parseFields = createParser(
  Type.Record(Type.String(), Type.String()),
  'BAD_PARAMETER',
  'X-Registry-Auth',
)

/**
 * X-Registry-Auth, base64 of JSON: clients send both alphabets, padded or not; engines want it
 * padded. '' where there are no credentials in it. The value is never quoted in an error.
 */
export const readRegistryAuth = (header: string | string[] | undefined): string => {
  const text = typeof header === 'string' ? header.trim() : ''
  if (text === '') return ''
  const wrong = (): HyperError =>
    new HyperError('BAD_PARAMETER', 'X-Registry-Auth is not the base64 of JSON')
  if (!BASE64.test(text)) throw wrong()
  const bytes = Buffer.from(text, 'base64')
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw wrong()
  }
  if (value === null) return ''
  const isEmpty = Object.values(parseFields(value)).every((field) => field === '')
  return isEmpty ? '' : bytes.toString('base64')
}

const tagsOf = (record: ImageRecord) => {
  const { repository } = parseReference(record.reference)
  return {
    RepoTags: record.reference.includes('@') ? [] : [record.reference],
    RepoDigests: record.digest === null ? [] : [`${repository}@${record.digest}`],
  }
}

const inspectShape = (record: ImageRecord) => {
  const [os = '', architecture = '', variant = ''] = record.platform.split('/')
  return {
    Id: record.id,
    ...tagsOf(record),
    Parent: '',
    Comment: '',
    Created: record.created,
    Author: '',
    Config: record.config,
    Architecture: architecture,
    ...(variant === '' ? {} : { Variant: variant }),
    Os: os,
    Size: record.sizeBytes,
    VirtualSize: record.sizeBytes,
  }
}

const listShape = (record: ImageRecord) => {
  const createdMs = Date.parse(record.created)
  return {
    Id: record.id,
    ParentId: '',
    ...tagsOf(record),
    Created: Number.isNaN(createdMs) ? 0 : Math.floor(createdMs / 1000),
    Size: record.sizeBytes,
    VirtualSize: record.sizeBytes,
    SharedSize: -1,
    Containers: -1,
    Labels: record.config.Labels,
  }
}

const referenceOf = (query: Query): string => {
  const from = query.text('fromImage')
  const tag = query.text('tag')
  for (const name of ['fromSrc', 'platform']) {
    if (query.text(name) !== '') throw new HyperError('UNSUPPORTED', `${name} is not supported`)
  }
  if (from === '') throw new HyperError('BAD_PARAMETER', 'fromImage is missing')
  if (tag === '') return parseReference(from).name
  return parseReference(tag.startsWith('sha256:') ? `${from}@${tag}` : `${from}:${tag}`).name
}

/** Writes progress lines; the first one commits the answer to 200. */
const createProgress = (request: FastifyRequest, reply: FastifyReply) => {
  const response = reply.raw
  let isStarted = false
  const write = (line: string): void => {
    if (!isStarted) {
      isStarted = true
      reply.hijack()
      response.writeHead(200, { 'Content-Type': 'application/json' })
    }
    response.write(`${line.trimEnd()}\n`)
  }
  return {
    isStarted: () => isStarted,
    onLine: (line: string): void => {
      if (!response.destroyed && response.writableLength < limits.logFollowBytesMax) write(line)
    },
    /** The last line, which no reader may miss. */
    end: (line: string): void => {
      if (response.destroyed) return
      write(line)
      cutIfStalled(request, reply)
      response.end()
    },
  }
}

const pull = async (
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> => {
  const account = accountOf(request)
  const reference = referenceOf(readQuery(request.query))
  const auth = readRegistryAuth(request.headers['x-registry-auth'])
  if (gateway.isStopping()) throw stoppingError()
  const progress = createProgress(request, reply)
  const signal = AbortSignal.any([gateway.goneOf(request.raw.socket), gateway.closed])
  try {
    const record = await gateway.ports.images.pull(
      account,
      reference,
      auth,
      progress.onLine,
      signal,
    )
    progress.end(
      JSON.stringify({ status: `Status: ${reference} is ${record.digest ?? record.id}` }),
    )
  } catch (error) {
    const failure = toHyperError(error)
    if (!progress.isStarted()) return sendRefusal(gateway, failure, request, reply)
    const isOurs = failure.code === 'INTERNAL'
    if (isOurs) gateway.log.error({ err: failure.cause }, 'pulling an image failed')
    const message = isOurs ? new HyperError('INTERNAL', 'internal error').line : failure.line
    progress.end(JSON.stringify({ errorDetail: { message }, error: message }))
  }
}

export const registerImages = (app: FastifyInstance, gateway: Gateway): void => {
  const { images } = gateway.ports

  app.post('/images/create', async (request, reply) => {
    await pull(gateway, request, reply)
    return reply
  })

  app.get('/images/json', async (request) => {
    const wanted = readQuery(request.query).filters(['reference']).get('reference') ?? []
    const canonical = wanted.map((reference) => parseReference(reference).canonical)
    return images
      .list(accountOf(request))
      .filter((record) => wanted.length === 0 || canonical.includes(record.reference))
      .map(listShape)
  })

  // Names have slashes: everything between the two words is one.
  app.get<{ Params: { '*': string } }>('/images/*', async (request) => {
    const path = request.params['*']
    const account = accountOf(request)
    if (!path.endsWith('/json')) throw new HyperError('NOT_FOUND', 'no such path')
    const name = path.slice(0, -'/json'.length)
    const record = images.get(account, name)
    if (record === null) throw new HyperError('IMAGE_NOT_FOUND', `No such image: ${name}`)
    return inspectShape(record)
  })
}
