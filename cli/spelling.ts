/** Finds what was meant: the candidate within two edits of a word, the nearest first. */

const EDITS_MAX = 2

/** Levenshtein distance, a row at a time; words of commands are short. */
const distance = (a: string, b: string): number => {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, letter] of [...a].entries()) {
    const row = [i + 1]
    for (const [j, other] of [...b].entries()) {
      const change = (previous[j] ?? 0) + (letter === other ? 0 : 1)
      row.push(Math.min(change, (previous[j + 1] ?? 0) + 1, (row[j] ?? 0) + 1))
    }
    previous = row
  }
  return previous.at(-1) ?? 0
}

export const findSimilar = (word: string, candidates: readonly string[]): string | undefined => {
  const near = candidates
    .map((candidate) => ({ candidate, edits: distance(word, candidate) }))
    .filter(({ candidate, edits }) => edits <= EDITS_MAX && edits < candidate.length)
    .sort((a, b) => a.edits - b.edits)
  return near[0]?.candidate
}
