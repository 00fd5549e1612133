/** The commands of functions and their calls: words and help (see catalog.ts). */

import type { CommandSpec, OptionSpec, RefusedOption } from './catalog.ts'

const SIZE: OptionSpec = {
  flags: '--size <size>',
  description: 's1 s2 s3 s4 m1 m2 m3 l1 l2 l3 (64 MB … 16 GB; default s4, 512 MB)',
}
const TIMEOUT: OptionSpec = {
  flags: '--timeout <seconds>',
  description: 'Longest run of one call (default 300, at most 86400; 0: no limit)',
}
const ENVIRONMENT: readonly OptionSpec[] = [
  { flags: '-e, --env <k=v>', description: 'Environment variable; can be repeated' },
  { flags: '--env-file <file>', description: 'Environment variables, one a line' },
]

/** What a function cannot have is refused by its name, not taken for a slip of the fingers. */
const REFUSED: readonly RefusedOption[] = [
  {
    flags: ['-v', '--volume', '--volumes-from', '--volume-driver', '--mount', '--tmpfs'],
    why: 'a function has no volumes; send data as its payload, or put it into the image',
  },
  {
    flags: ['-p', '--publish', '-P', '--publish-all', '--expose', '--link', '--ip', '--dns'],
    why: 'a function is called by its address; its containers have no ports, links or addresses of choice',
  },
  {
    flags: ['-t', '--tty', '-i', '--interactive', '-a', '--attach', '-d', '--detach', '--rm'],
    why: 'a call’s STDIN and STDOUT are its payload and its output; there is no terminal',
  },
  {
    flags: ['--privileged', '--device', '--gpus', '--cap-add', '--cap-drop', '--security-opt'],
    why: 'a function is fenced in by --profile (default, strict or compat), with nothing beside it',
  },
  {
    flags: ['--pid', '--ipc', '--uts', '--userns', '--cgroupns', '--cgroup-parent', '--net'],
    why: 'a function has no namespaces of its host; its network is --network bridge or none',
  },
  {
    flags: ['-m', '--memory', '-c', '--cpus', '--cpu-shares', '--memory-swap', '--pids-limit'],
    why: 'memory and CPUs of a function are its --size',
  },
  {
    flags: ['--restart'],
    why: 'calls are run again by --max-attempts and --retry-on-exit',
  },
]

const CREATE: CommandSpec = {
  words: 'func create',
  args: '<image> [...command]',
  summary: 'Make a function of an image',
  isFenced: true,
  refused: REFUSED,
  options: [
    { flags: '--name <name>', description: 'Its name: a–z, 0–9 and - (required)' },
    SIZE,
    TIMEOUT,
    ...ENVIRONMENT,
    { flags: '-l, --label <k=v>', description: 'Label; can be repeated' },
    { flags: '--entrypoint <command>', description: 'Instead of the image’s entrypoint' },
    { flags: '-w, --workdir <dir>', description: 'Working directory' },
    { flags: '-u, --user <user>', description: 'User to run as' },
    { flags: '--stop-signal <signal>', description: 'Signal at the timeout (default SIGTERM)' },
    { flags: '--at-most-once', description: 'Never start a call twice, even if its agent is lost' },
    { flags: '--max-attempts <n>', description: 'Attempts when agents are lost (default 3)' },
    { flags: '--retry-on-exit <n>', description: 'Run again so often when it exits with non-zero' },
    { flags: '--queue-timeout <time>', description: 'Longest wait for a place to run (24h)' },
    { flags: '--network <mode>', description: 'bridge (default) or none' },
    {
      flags: '--runtime <name>',
      description: 'OCI runtime, such as runsc (gVisor; with --network none)',
    },
    { flags: '--profile <name>', description: 'default, strict or compat' },
    { flags: '--constraint <k=v>', description: 'Label an agent must have; can be repeated' },
  ],
  examples: [
    'func create --name hello busybox echo HelloWorld',
    'func create --name resizer v4tech/imagemagick convert - -resize 50% fd:1',
    'func create --name count --size s1 --timeout 10 -e LANG=C busybox wc -c',
  ],
  load: async () => (await import('./commands/func-create.ts')).createFunc,
}

const CALL: CommandSpec = {
  words: 'func call',
  args: '<name>',
  summary: 'Call a function; STDIN, when it is a pipe or file, is its payload',
  options: [
    { flags: '--sync', description: 'Wait for the end and print the output' },
    { flags: '--no-stdin', description: 'Send no payload' },
  ],
  examples: [
    'func call hello',
    'func call --sync resizer < photo.jpg > small.jpg',
    'func get --wait $(hyper func call -q hello)',
  ],
  load: async () => (await import('./commands/func-call.ts')).callFunc,
}

const GET: CommandSpec = {
  words: 'func get',
  args: '<callid>',
  summary: 'Print the output of a call; its exit code is the function’s',
  options: [{ flags: '--wait', description: 'Wait for the end, for hours if need be' }],
  examples: [
    'func get 218b7b10-8a04-4d3c-8a44-0d2b6d1f6c5e',
    'func get --wait 218b7b10-8a04-4d3c-8a44-0d2b6d1f6c5e > out',
  ],
  load: async () => (await import('./commands/func-call.ts')).getOutput,
}

const LOGS: CommandSpec = {
  words: 'func logs',
  args: '<name>',
  summary: 'What happened to a function’s calls',
  options: [
    { flags: '-f, --follow', description: 'Go on with what comes' },
    { flags: '--tail <n>', description: 'The last lines only (default all)' },
    { flags: '--callid <id>', description: 'Of one call' },
    { flags: '--since <seq>', description: 'Lines after this number (see --json)' },
    {
      flags: '--stderr',
      description: 'All STDERR of the call that --callid names, as it was written',
    },
  ],
  examples: [
    'func logs hello',
    'func logs -f --tail 10 hello',
    'func logs --json hello',
    'func logs --callid 218b7b10-8a04-4d3c-8a44-0d2b6d1f6c5e --stderr hello',
  ],
  load: async () => (await import('./commands/func-logs.ts')).showLogs,
}

const SHOWN: readonly CommandSpec[] = [
  {
    words: 'func ls',
    args: '',
    summary: 'List functions',
    options: [{ flags: '-f, --filter <k=v>', description: 'Only those, such as name=hello' }],
    examples: ['func ls', 'func ls -f name=hello', 'func ls -q', 'func ls --json'],
    load: async () => (await import('./commands/func-show.ts')).listFuncs,
  },
  {
    words: 'func inspect',
    args: '<...names>',
    summary: 'Everything about functions, as JSON',
    options: [{ flags: '-f, --format <template>', description: 'Such as {{.Config.Image}}' }],
    examples: [
      'func inspect hello',
      "func inspect -f '{{.UUID}}' hello",
      "func inspect -f '{{json .Config.Env}}' hello",
    ],
    load: async () => (await import('./commands/func-show.ts')).inspectFuncs,
  },
  {
    words: 'func status',
    args: '<name>',
    summary: 'Count a function’s calls by state',
    options: [],
    examples: ['func status hello', 'func status --json hello'],
    load: async () => (await import('./commands/func-show.ts')).showStatus,
  },
  {
    words: 'func calls',
    args: '<name>',
    summary: 'List a function’s calls, newest first',
    options: [{ flags: '--failed', description: 'Only those that failed' }],
    examples: ['func calls hello', 'func calls --failed hello', 'func calls -q hello'],
    load: async () => (await import('./commands/func-show.ts')).listCalls,
  },
]

const CHANGED: readonly CommandSpec[] = [
  {
    words: 'func update',
    args: '<name>',
    summary: 'Change a function; calls accepted before keep what they had',
    options: [
      SIZE,
      TIMEOUT,
      ...ENVIRONMENT,
      { flags: '--refresh', description: 'A new UUID: the old address ends' },
    ],
    examples: [
      'func update --size m1 --timeout 600 hello',
      'func update -e LANG=C -e TZ=UTC hello',
      'func update --env-file /dev/null hello',
      'func update --refresh hello',
    ],
    load: async () => (await import('./commands/func-change.ts')).updateFunc,
  },
  {
    words: 'func rm',
    args: '<...names>',
    summary: 'Remove functions, with their outputs and logs',
    options: [{ flags: '-f, --force', description: 'Cancel calls that wait or run' }],
    examples: ['func rm hello', 'func rm -f hello', 'func rm $(hyper func ls -q)'],
    load: async () => (await import('./commands/func-change.ts')).removeFuncs,
  },
  {
    words: 'func cancel',
    args: '<...callids>',
    summary: 'Cancel calls that wait or run',
    options: [],
    examples: ['func cancel 218b7b10-8a04-4d3c-8a44-0d2b6d1f6c5e'],
    load: async () => (await import('./commands/func-change.ts')).cancelCalls,
  },
]

export const FUNC_COMMANDS: readonly CommandSpec[] = [CREATE, CALL, GET, LOGS, ...SHOWN, ...CHANGED]
