/** A store over a disk in memory, and the pauses and troubles it had. */

import { createStore, type Store, type StoreDeps } from '../../coordinator/store/store.ts'
import { createMemoryDisk, type MemoryDisk } from './memory-drive.ts'

export const INLINE_BYTES_MAX = 16

export const createStoreBench = () => {
  const disk: MemoryDisk = createMemoryDisk()
  const troubles: string[] = []
  const losses: string[] = []
  return {
    ...{ disk, troubles, losses },
    open: (
      faults: Parameters<MemoryDisk['openDrive']>[0] = {},
      over: Partial<StoreDeps> = {},
    ): Promise<Store> =>
      createStore(disk.openDrive(faults), {
        inlineBytesMax: INLINE_BYTES_MAX,
        pause: () => new Promise((resolve) => setImmediate(resolve)),
        onTrouble: (trouble) => void troubles.push(trouble),
        ...over,
      }),
    /** Opens what is left where the operator accepts the loss. */
    accept() {
      return this.open({}, { tellLoss: (what) => void losses.push(what) })
    },
  }
}
