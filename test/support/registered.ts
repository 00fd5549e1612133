/** An account, an image and a disk, as tests of what is registered need them. */

import type { Account } from '../../coordinator/ports.ts'
import type { Operation } from '../../coordinator/store/store.ts'
import { HyperError } from '../../protocol/errors.ts'
import type { ImageRecord } from '../../protocol/image.ts'
import { createDisk } from './ledger-disk.ts'

export const account: Account = {
  id: 'a1',
  name: 'one',
  quota: 1,
  operator: false,
  accessKey: '',
  created: '',
}

export const record: ImageRecord = {
  reference: 'ubuntu:latest',
  digest: `sha256:${'a'.repeat(64)}`,
  id: 'sha256:id',
  platform: 'linux/amd64',
  sizeBytes: 1,
  created: '',
  config: {
    Entrypoint: null,
    Cmd: null,
    Env: null,
    User: '',
    WorkingDir: '',
    Labels: {},
    StopSignal: '',
  },
}

export const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof HyperError && error.code === code

export const never = new AbortController().signal

export const openBooks = () => {
  const disk = createDisk()
  const write = (operations: readonly Operation[]): Promise<void> => disk.commit(operations)
  return { disk, write, record: disk.commitNow }
}
