/**
 * The one commit loop (see One commit loop in ARCHITECTURE.md): all transitions of a tick become one
 * synced batch, one batch in flight; what must not be said before it is true (answers,
 * acknowledgements, assignments) is said after it resolved, in the order of the transitions.
 *
 * A disk that refuses is waited for by the store; all that comes meanwhile waits here, untold. A
 * transition changes memory at once and the disk a moment later, so what the store gives up cannot be
 * taken back: `onFailure` ends the process, which starts again from what is committed.
 *
 * The exception for latency: `isSettled` says whether every earlier transition is committed, so a
 * synchronous call's assignment may leave beside the write of its own acceptance.
 */

import { limits } from '../protocol/limits.ts'
import type { Operation, Store } from './store/store.ts'

export interface CommitLoop {
  /** Adds a transition: its writes, and what happens once they are durable. */
  add(operations: readonly Operation[], afterwards: () => void): void
  /** No transition waits or is being written. */
  isSettled(): boolean
  /** Resolves when all that was added before is durable. */
  settled(): Promise<void>
  /** Writes what was added, then takes no more: what still comes is told to nobody. */
  close(): Promise<void>
}

interface Transition {
  readonly operations: readonly Operation[]
  readonly bytes: number
  readonly afterwards: () => void
}

/** About what a value takes when it is stored: its texts and bytes, and a little for all the rest. */
const bytesOfValue = (value: unknown): number => {
  if (typeof value === 'string') return value.length + 4
  if (value instanceof Uint8Array) return value.byteLength + 4
  if (typeof value !== 'object' || value === null) return 8
  let bytes = 8
  for (const [key, part] of Object.entries(value)) bytes += key.length + bytesOfValue(part)
  return bytes
}

/** Of keys, and of what a batch adds to each operation. */
const OPERATION_BYTES = 64

/** A measure, not an exact size: it bounds a batch. */
const bytesOf = (operations: readonly Operation[]): number => {
  let bytes = 0
  for (const operation of operations) {
    bytes += OPERATION_BYTES
    if (operation.type === 'put') bytes += bytesOfValue(operation.value)
    else if (operation.type === 'put-body') bytes += operation.bytes.byteLength
  }
  return bytes
}

export const createCommitLoop = (
  store: Pick<Store, 'commit'>,
  onFailure: (error: unknown) => void,
): CommitLoop => {
  let waiting: Transition[] = []
  let isBusy = false
  let isClosed = false

  const takeBatch = (): Transition[] => {
    let bytes = 0
    let count = 0
    for (const transition of waiting) {
      if (count > 0 && bytes + transition.bytes > limits.commitBytesMax) break
      bytes += transition.bytes
      count += 1
    }
    const batch = waiting.slice(0, count)
    waiting = waiting.slice(count)
    return batch
  }

  const commit = (operations: readonly Operation[]): Promise<void> =>
    store.commit(operations).catch((cause: unknown) => {
      throw new Error('the disk refused a commit', { cause })
    })

  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = takeBatch()
      const operations = batch.flatMap((transition) => transition.operations)
      if (operations.length > 0) await commit(operations)
      for (const transition of batch) transition.afterwards()
    }
    isBusy = false
  }

  const start = (): void => {
    isBusy = true
    // One turn later, so that all transitions of this tick share the batch.
    queueMicrotask(() => {
      run().catch((error: unknown) => {
        isClosed = true
        onFailure(error)
      })
    })
  }

  return {
    add(operations, afterwards) {
      if (isClosed) return
      waiting.push({ operations, bytes: bytesOf(operations), afterwards })
      if (!isBusy) start()
    },
    isSettled: () => !isBusy && waiting.length === 0,
    settled() {
      return new Promise((resolve) => this.add([], resolve))
    },
    async close() {
      await this.settled()
      isClosed = true
    },
  }
}
