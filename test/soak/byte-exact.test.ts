/** 1,000 synchronous calls at concurrency 4: none wrong, none empty. */

import { after, before, test } from 'node:test'
import { type Deployment, startDeployment } from '../support/deployment.ts'
import { checkEchoCalls } from '../support/echo-calls.ts'

let deployment: Deployment

before(async () => {
  deployment = await startDeployment()
})
after(() => deployment.stop())

test('1,000 synchronous calls, four at a time, answer byte for byte', () =>
  checkEchoCalls(deployment.context, 1000))
