/** Labels of an agent: what calls ask for with `--constraint k=v`. Said by itself, or by the operator. */

import Type, { type Static } from 'typebox'
import { limits } from './limits.ts'

const Text = Type.String({ maxLength: limits.labelCharsMax })

export const LabelsSchema = Type.Refine(
  Type.Record(Type.String(), Text, { maxProperties: limits.labelsMax }),
  (labels) =>
    Object.keys(labels).every((name) => name !== '' && name.length <= limits.labelCharsMax),
  () => `must have names of 1 to ${limits.labelCharsMax} characters`,
)
export type Labels = Static<typeof LabelsSchema>
