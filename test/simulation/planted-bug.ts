/** A fault that is planted in the shipped source: changes of text, each of which applies exactly once. */

export interface Edit {
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface PlantedBug {
  readonly name: string
  readonly edits: readonly Edit[]
  /** Seeds of this profile are run. */
  readonly profile: string
  /** What may find it: the start of an invariant's name. */
  readonly foundBy: readonly string[]
}

export const bug = (
  name: string,
  profile: string,
  foundBy: readonly string[],
  ...edits: readonly Edit[]
): PlantedBug => ({ name, profile, foundBy, edits })

export const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace })
