/** `hyper completion`: scripts for bash, zsh and fish, made from the catalog. */

import { HyperError } from '../../protocol/errors.ts'
import { COMMANDS, type CommandSpec, GLOBAL_OPTIONS } from '../catalog.ts'
import { firstArgument, type Input } from '../input.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

const optionsOf = (command: CommandSpec): readonly string[] =>
  [...command.options, ...GLOBAL_OPTIONS].flatMap(({ flags }) => flags.match(/--[a-z-]+/g) ?? [])

/** For every sequence of words, what can come next. */
const nextWords = (): ReadonlyMap<string, readonly string[]> => {
  const next = new Map<string, Set<string>>()
  const add = (words: string, ...more: readonly string[]): void => {
    const known = next.get(words) ?? new Set<string>()
    for (const word of more) known.add(word)
    next.set(words, known)
  }
  for (const command of COMMANDS) {
    const [first = '', second] = command.words.split(' ')
    add('', first)
    if (second !== undefined) add(first, second)
    add(command.words, ...optionsOf(command))
  }
  return new Map([...next].map(([words, more]) => [words, [...more]]))
}

const bash = (): string => {
  const cases = [...nextWords()].map(
    ([words, more]) => `    '${words}') more='${more.join(' ')}' ;;`,
  )
  return [
    '_hyper() {',
    '  local words="" word more=""',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's
    '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
    '    case "$word" in -*) continue ;; esac',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's
    '    [ "$(wc -w <<< "$words")" -lt 2 ] && words="${words:+$words }$word"',
    '  done',
    '  case "$words" in',
    ...cases,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's
    '    *) case "${words%% *}" in',
    ...[...nextWords()]
      .filter(([words]) => words !== '' && !words.includes(' '))
      .map(([words, more]) => `      '${words}') more='${more.join(' ')}' ;;`),
    '    esac ;;',
    '  esac',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's
    '  COMPREPLY=($(compgen -W "$more" -- "${COMP_WORDS[COMP_CWORD]}"))',
    '}',
    'complete -o default -F _hyper hyper',
  ].join('\n')
}

const fish = (): string => {
  const lines = ['complete -c hyper -f']
  for (const [words, more] of nextWords()) {
    const parts = words.split(' ').filter((word) => word !== '')
    const condition =
      parts.length === 0
        ? '__fish_use_subcommand'
        : parts.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ')
    for (const word of more) {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${word}`
      lines.push(`complete -c hyper -n '${condition}' ${what}`)
    }
  }
  return lines.join('\n')
}

export const printCompletion = async (input: Input): Promise<undefined> => {
  const shell = firstArgument(input)
  if (shell === 'bash') input.output.line(bash())
  else if (shell === 'fish') input.output.line(fish())
  else if (shell === 'zsh')
    input.output.line(`autoload -U +X bashcompinit && bashcompinit\n${bash()}`)
  else throw new HyperError('BAD_PARAMETER', `no such shell: ${shell} (${SHELLS.join(', ')})`)
  return undefined
}
