/**
 * A process that writes to the store in the folder it is given until it is killed: row n and its
 * double in one commit, and a line for each commit that was acknowledged. Given `open`, it only
 * opens the store and says what came of it.
 */

import { openStore, put } from '../../coordinator/store.ts'
import { toHyperError } from '../../protocol/errors.ts'

const [, , folder = '', mode = 'write'] = process.argv

const write = async (): Promise<never> => {
  const store = await openStore(folder)
  const from = Number((await store.get('meta', 'last')) ?? 0)
  for (let n = from + 1; ; n += 1) {
    await store.commit([
      put('call', `${n}`, n),
      put('lease', `${n}`, 2 * n),
      put('meta', 'last', n),
    ])
    process.stdout.write(`${n}\n`)
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
