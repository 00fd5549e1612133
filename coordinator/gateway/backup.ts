/**
 * GET /backup: everything the coordinator has, as one stream that is made while it is read. Its last
 * frame makes it whole: a stream that breaks off, for whatever reason, is no backup.
 */

import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createGzip } from 'node:zlib'
import type { FastifyInstance } from 'fastify'
import { backupPrefix } from '../../protocol/backup.ts'
import { toHyperError } from '../../protocol/errors.ts'
import { cutIfStalled, type Gateway, stoppingError } from './context.ts'

/** Rows shrink well even so, bodies often do not, and the coordinator has other work. */
const GZIP = { level: constants.Z_BEST_SPEED }

export const registerBackup = (app: FastifyInstance, gateway: Gateway): void => {
  const { backups } = gateway.ports

  app.get('/backup', async (request, reply) => {
    if (gateway.isStopping()) throw stoppingError()
    const { frames, close } = await backups.open()
    const response = reply.raw
    try {
      reply.hijack()
      response.writeHead(200, { 'Content-Type': 'application/octet-stream' })
      response.write(backupPrefix())
      cutIfStalled(request, reply)
      const signal = AbortSignal.any([gateway.goneOf(request.raw.socket), gateway.closing])
      await pipeline(Readable.from(frames), createGzip(GZIP), response, { signal })
    } catch (error) {
      const { code, line } = toHyperError(error)
      gateway.log.warn({ code, reason: line }, 'a backup broke off')
      response.destroy()
    } finally {
      await close()
    }
    return reply
  })
}
