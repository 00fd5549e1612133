/** Labels of an agent: what functions ask for by `--constraint`. */

import Type from 'typebox'
import { limits } from './limits.ts'

const Text = Type.String({ maxLength: limits.labelCharsMax })

export const LabelsSchema = Type.Refine(
  Type.Record(Type.String(), Text, { maxProperties: limits.labelsMax }),
  (labels) => Object.keys(labels).every((name) => name.length <= limits.labelCharsMax),
  () => `must not have a name of more than ${limits.labelCharsMax} characters`,
)
