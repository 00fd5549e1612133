/** `hyper coordinator`: the coordinator in the foreground. */

import { coordinatorConfigOf } from '../daemon-config.ts'
import { runForeground } from '../foreground.ts'
import type { Input } from '../input.ts'
import { modulePath } from '../program.ts'

export const runCoordinator = ({ flags, environment, output }: Input): Promise<number> => {
  const start = {
    program: modulePath('coordinator/main'),
    config: coordinatorConfigOf(flags, environment),
    name: 'coordinator',
    onProgress: output.note,
  }
  return runForeground(start, ({ url, peerId, listen, mesh }) => {
    if (output.isJson) output.json({ url, peerId, listen, mesh })
    else output.line(`The coordinator is ready at ${url}`)
  })
}
