/** A backup of the coordinator over the wire, as it comes. */

import type { IncomingMessage } from 'node:http'
import type { Management } from './management.ts'

/** The bytes of a backup (protocol/backup.ts says whether they are whole); must be read or destroyed. */
export type OpenBackup = () => Promise<IncomingMessage>

export const createBackup =
  (management: Management): OpenBackup =>
  async () =>
    (await management.open({ method: 'GET', path: '/backup', isLong: true })).body
