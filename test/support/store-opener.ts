/** A process that only opens the store in the folder it is given, and says what came of it. */

import { openStore } from '../../coordinator/store/store.ts'
import { toHyperError } from '../../protocol/errors.ts'

const [, , folder = ''] = process.argv

try {
  await (await openStore(folder)).close()
  process.stdout.write('opened\n')
} catch (error) {
  process.stdout.write(`${toHyperError(error).code}\n`)
}
