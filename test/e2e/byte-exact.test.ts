/** Many synchronous calls side by side, every byte checked. `npm run soak` makes it 1,000. */

import { after, before, test } from 'node:test'
import { type Deployment, startDeployment } from '../support/deployment.ts'
import { checkEchoCalls } from '../support/echo-calls.ts'

let deployment: Deployment

before(async () => {
  deployment = await startDeployment()
})
after(() => deployment.stop())

test('60 synchronous calls, four at a time, answer byte for byte', () =>
  checkEchoCalls(deployment.context, 60))
