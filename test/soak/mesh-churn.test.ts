/** The mesh of many that come and go, in full (test/support/host-churn.ts). */

import { test } from 'node:test'
import { checkChurn } from '../support/host-churn.ts'

test('20 agents come and go in every way during 500 calls: every promise is kept', () =>
  checkChurn({ agents: 20, calls: 500 }))
