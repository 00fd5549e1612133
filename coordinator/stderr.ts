/**
 * The STDERR of an ended call, for whoever asks: all that was kept of it, byte for byte, from its
 * body or from the log line that shows it whole. It can be asked for again until it rotates out.
 */

import { HyperError } from '../protocol/errors.ts'
import type { Caches } from './caches.ts'
import { type HistoryRow, parseLogRow, rowKey } from './rows.ts'
import type { Store } from './store/store.ts'

interface Deps {
  readonly caches: Caches
  readonly store: Pick<Store, 'get' | 'body'>
  readonly historyOf: (callId: string) => Promise<HistoryRow | null>
}

/** Throws CALL_NOT_FOUND for one that has not ended or is not known, STDERR_GONE. */
export const createStderrReader =
  ({ caches, store, historyOf }: Deps) =>
  async (funcId: string, callId: string): Promise<Uint8Array> => {
    // The row is on disk, so what was written with it is there, too, or has gone since.
    const row = await historyOf(callId)
    if (row?.funcId !== funcId) throw new HyperError('CALL_NOT_FOUND', `no such call: ${callId}`)
    const place = caches.stderrOf(funcId, row.seq)
    const gone = new HyperError('STDERR_GONE', `the STDERR of ${callId} has rotated out`)
    if (place === null) throw gone
    if (place.hasBody) {
      const body = await store.body('stderr', rowKey(funcId, row.seq))
      if (body === undefined) throw gone
      return body
    }
    const line = await store.get('log', place.lineKey)
    if (line === undefined) throw gone
    return Buffer.from(parseLogRow(line).ShortStderr)
  }
