/** `npm run simulate -- SEED [PROFILE]`: one seed again, with all that was seen, and the verdict. */

import { messageOf } from '../../protocol/errors.ts'
import { runSeed } from './run.ts'
import { lineOf } from './trace.ts'

const [seed = '', profile = null] = process.argv.slice(2)
const number = Number(seed)
if (!/^\d+$/.test(seed) || !Number.isSafeInteger(number)) {
  process.stderr.write('usage: npm run simulate -- SEED [PROFILE]\n')
  process.exitCode = 2
} else {
  const outcome = await runSeed(number, profile).catch((error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`)
    return process.exit(1)
  })
  const { observations, failure, acts, virtualMs } = outcome
  const lines = observations.map(lineOf)
  const verdict =
    failure === null
      ? `all invariants hold`
      : `${(failure.atMs / 1000).toFixed(3)} s: ${failure.invariant}: ${failure.message}`
  lines.push(
    `seed ${seed}, profile ${outcome.profile}: ${acts} acts in ${(virtualMs / 1000).toFixed(0)} s of virtual time`,
    verdict,
  )
  process.stdout.write(`${lines.join('\n')}\n`, () => process.exit(failure === null ? 0 : 1))
}
