/** Both runners keep the same contract: through the engine, and through its runtime alone. */

import { OCI_SKIP, openOciBench } from '../support/oci-bench.ts'
import { openDockerBench } from '../support/runner-engine.ts'
import { testRunner } from '../support/runner-suite.ts'

testRunner('the docker runner', openDockerBench)
testRunner('the oci runner', openOciBench, OCI_SKIP)
