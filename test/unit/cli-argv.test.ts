import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Parsed, readArguments } from '../../cli/argv.ts'
import { COMMANDS } from '../../cli/catalog.ts'
import { helpOf } from '../../cli/help.ts'
import { HyperError } from '../../protocol/errors.ts'

const run = (...argv: readonly string[]): Parsed & { readonly words: string } => {
  const reading = readArguments(argv)
  assert.equal(reading.kind, 'run')
  return { words: reading.command.words, ...reading.parsed }
}

const refusal = (...argv: readonly string[]): string => {
  try {
    readArguments(argv)
  } catch (error) {
    assert.ok(error instanceof HyperError && error.code === 'BAD_PARAMETER')
    return error.line
  }
  return assert.fail(`accepted: ${argv.join(' ')}`)
}

test('everything after IMAGE belongs to the function', () => {
  const words = 'func create --name resizer v4tech/imagemagick convert - -resize 50% fd:1'
  const { args, rest, options } = run(...words.split(' '))
  assert.deepEqual(args, ['v4tech/imagemagick'])
  assert.deepEqual(rest, ['convert', '-', '-resize', '50%', 'fd:1'])
  assert.deepEqual(options.get('name'), ['resizer'])
})

test('flags, help and -- after IMAGE are words like any other', () => {
  const tail = ['sh', '-c', 'x', '--name', 'zz', '--', '-y', '--help', '--json', '']
  const { rest, options } = run('func', 'create', '--name', 'n', 'img', ...tail)
  assert.deepEqual(rest, tail)
  assert.deepEqual(options.get('name'), ['n'])
  assert.equal(options.has('json'), false)
  assert.deepEqual(run('func', 'create', '--name', 'n', 'img', '--', 'ls').rest, ['--', 'ls'])
  assert.deepEqual(run('func', 'create', '--name', 'n', '--', 'img', '--', 'ls').rest, ['--', 'ls'])
})

test('a flag without a value takes no word, whatever its name', () => {
  for (const { words, args, options } of COMMANDS) {
    const given = args === '' ? [] : args.split(' ').filter((arg) => arg.startsWith('<'))
    for (const { flags } of options.filter(({ flags }) => !flags.includes('<'))) {
      const long = flags.split(',').at(-1)?.trim() ?? ''
      const read = run(...words.split(' '), long, ...given.map((_, index) => `word${index}`))
      assert.equal(read.args.length, given.length, `${words} ${long}`)
    }
  }
  assert.deepEqual(run('func', 'create', '--at-most-once', 'img', 'ls').options.get('atMostOnce'), [
    true,
  ])
})

test('any words after IMAGE come through', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (words) => {
      assert.deepEqual(run('func', 'create', '--name', 'n', 'img', ...words).rest, words)
    }),
    { numRuns: 200 },
  )
})

test('any value of a flag and any argument stays the text it was', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (value, other) => {
      const { options, args } = run('func', 'update', '-e', value, '--env', other, '--', value)
      assert.deepEqual(options.get('env'), [value, other])
      assert.deepEqual(args, [value])
    }),
    { numRuns: 200 },
  )
})

test('what looks like a number or a truth value stays text', () => {
  for (const name of ['007', '1e5', '0x10', '-5', '', 'true', '--x']) {
    assert.deepEqual(run('func', 'create', '--name', name, 'i').options.get('name'), [name])
    assert.deepEqual(run('func', 'create', `--name=${name}`, 'i').options.get('name'), [name])
  }
  assert.deepEqual(run('func', 'get', '--wait', '0010').args, ['0010'])
})

test('global flags stand before, between or after the words of a command', () => {
  for (const argv of [
    ['--json', '--endpoint', 'http://h:1', 'func', 'get', '--wait', 'id'],
    ['func', '--json', '--endpoint=http://h:1', 'get', 'id', '--wait'],
    ['func', 'get', '--wait', 'id', '--json', '--endpoint', 'http://h:1'],
  ]) {
    const { words, args, options } = run(...argv)
    assert.equal(words, 'func get')
    assert.deepEqual(args, ['id'])
    assert.deepEqual(options.get('json'), [true])
    assert.deepEqual(options.get('wait'), [true])
    assert.deepEqual(options.get('endpoint'), ['http://h:1'])
  }
})

test('short flags can be joined, with their value, too', () => {
  const { options } = run('func', 'rm', '-fq', 'a')
  assert.deepEqual([options.get('force'), options.get('quiet')], [[true], [true]])
  assert.deepEqual(run('func', 'update', '-eA=b', 'n').options.get('env'), ['A=b'])
})

test('a listing of agents needs no second word', () => {
  assert.equal(run('agents').words, 'agents')
  assert.equal(run('agents', '--json').words, 'agents')
  assert.equal(run('agents', 'ls').words, 'agents ls')
  assert.deepEqual(run('agents', 'drain', 'host-2').args, ['host-2'])
})

test('help is found wherever it is asked for', () => {
  for (const [argv, words] of [
    [[], ''],
    [['help'], ''],
    [['--help'], ''],
    [['func'], 'func'],
    [['func', '--help'], 'func'],
    [['agents', '-h'], 'agents'],
    [['help', 'func'], 'func'],
    [['help', 'func', 'create'], 'func create'],
    [['func', 'create', '--help'], 'func create'],
    [['--help', 'func', 'create'], 'func create'],
  ] as const) {
    assert.deepEqual(readArguments(argv), { kind: 'help', words })
  }
  assert.deepEqual(readArguments(['--version']), { kind: 'version' })
})

test('every command has a help text with examples that parse', () => {
  for (const command of COMMANDS) {
    const help = helpOf(command.words)
    assert.match(help, /Examples:\n {2}\$ hyper /)
    for (const example of command.examples) {
      const words = example.replace(/ [<>|] .*/, '').replace(/\$\(.*\)|'[^']*'/, 'x')
      assert.equal(readArguments(words.split(' ')).kind, 'run', example)
    }
  }
})

test('wrong usage names what is wrong and where to look', () => {
  assert.match(refusal('fun'), /no such command: hyper fun\. Did you mean `hyper func`\?/)
  assert.match(refusal('func', 'crate', 'x'), /Did you mean `hyper func create`\?/)
  assert.match(refusal('func', 'zzzzzz'), /See `hyper func --help`/)
  assert.match(refusal('help', 'func', 'lst'), /Did you mean `hyper func ls`\?/)
  assert.match(refusal('func', 'ls', '--bogus'), /unknown option `--bogus`.*hyper func ls --help/)
  assert.match(refusal('--bogus', 'func', 'ls'), /unknown option --bogus/)
  assert.match(refusal('func', 'ls', 'extra'), /unused args: `extra`/)
  assert.match(
    refusal('func', 'get'),
    /^`hyper func get` needs CALLID\. See `hyper func get --help`$/,
  )
  assert.match(refusal('func', 'create', '--name'), /value is missing/)
  assert.match(refusal('func', 'get', '--wait=3', 'id'), /--wait takes no value/)
})
