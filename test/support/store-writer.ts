/**
 * A process that writes to the store in the folder it is given until it is killed, and prints the
 * number of each commit once it was acknowledged (store-writing.ts has what it writes).
 *
 *   FOLDER            as it is
 *   FOLDER early      prints the number before the commit is durable: a test of tests
 *   FOLDER unsynced   writes files without syncing them: another
 *   FOLDER open       only opens the store and says what came of it
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openLevelDrive } from '../../coordinator/level-drive.ts'
import { createStore, openStore, type Store } from '../../coordinator/store.ts'
import { toHyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { operationsOf } from './store-writing.ts'

const [, , folder = '', mode = 'write'] = process.argv

const openUnsynced = async (): Promise<Store> => {
  const drive = await openLevelDrive(folder)
  return createStore(
    {
      ...drive,
      async writeFiles(files) {
        for (const { name, bytes } of files) await writeFile(join(folder, 'blobs', name), bytes)
      },
    },
    {
      inlineBytesMax: limits.inlineBodyBytesMax,
      pause: async () => undefined,
      onTrouble: () => undefined,
    },
  )
}

const write = async (): Promise<never> => {
  const store = await (mode === 'unsynced' ? openUnsynced() : openStore(folder))
  const from = Number((await store.get('meta', 'last')) ?? 0)
  for (let n = from + 1; ; n += 1) {
    if (mode === 'early') process.stdout.write(`${n}\n`)
    await store.commit(operationsOf(n))
    if (mode !== 'early') process.stdout.write(`${n}\n`)
  }
}

const tryOpen = async (): Promise<void> => {
  try {
    await (await openStore(folder)).close()
    process.stdout.write('opened\n')
  } catch (error) {
    process.stdout.write(`${toHyperError(error).code}\n`)
  }
}

await (mode === 'open' ? tryOpen() : write())
