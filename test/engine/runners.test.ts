/** Both runners keep the same contract: through the engine, and through its runtime alone. */

import { OCI_SKIP, openOciBench } from '../support/oci-bench.ts'
import { openDockerBench } from '../support/runner-engine.ts'
import { testLeaving } from '../support/runner-leaving.ts'
import { testLife } from '../support/runner-life.ts'
import { testRunner } from '../support/runner-suite.ts'

testRunner('the docker runner', openDockerBench)
testRunner('the oci runner', () => openOciBench(), OCI_SKIP)
// Users and folders are made of the same configuration; its fences look otherwise from inside (oci-gvisor).
testRunner('the oci runner with gVisor', () => openOciBench('runsc'), OCI_SKIP, [
  testLife,
  testLeaving,
])
