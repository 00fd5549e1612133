/**
 * The ledger under load (ledger-steps.ts, ledger-start.ts), and whether it keeps its bounds. Prints
 * them, keeps the figures in bench/results/ledger.json, exits 1 where a bound is broken.
 */

import { measureAlone, measureStarts } from './ledger-start.ts'
import { measureSteps } from './ledger-steps.ts'
import { check, keepResults } from './report.ts'
import { figuresOf } from './statistics.ts'

const RATIO_MAX = 1.2
const PLACEMENT_US_MAX = 50
const CALL_BYTES_MAX = 500
const START_MS_MAX = 10_000

const memory = await measureAlone('memory')
check('bytes of a waiting call', memory.bytesPerCall ?? Number.NaN, { max: CALL_BYTES_MAX })

const starts = await measureStarts()
const startMs = figuresOf(starts.map(({ wholeMs }) => wholeMs ?? Number.NaN)).median
check('ms of a start with a million queued calls', startMs, { max: START_MS_MAX })

const steps = measureSteps()
for (const [name, series] of Object.entries({ accept: steps.accept, cycle: steps.cycle })) {
  for (const { waiting, us, ratio } of series) {
    check(`${name} with ${waiting} waiting, ${us.median} µs, ratio to none`, ratio, {
      max: RATIO_MAX,
    })
  }
}
check('µs of a placement, 1,000 agents', steps.placement.median, { max: PLACEMENT_US_MAX })
for (const [name, us] of Object.entries(steps.saturated)) {
  check(`µs of ${name}, no agent with room`, us.median, { max: PLACEMENT_US_MAX })
}

await keepResults('ledger', { ...steps, memory, starts })
