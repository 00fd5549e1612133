/**
 * The images that tests use, made in seconds from Debian packages of this machine, in the registry
 * of the test engine: `ubuntu` (busybox), `v4tech/imagemagick` (ImageMagick with JPEG, PNG, GIF),
 * `hyper-test/static` (one static program in an empty root), `hyper-test/other-platform` (the same
 * for another machine), `hyper-test/both` (either, by platform) and `hyper-test/mislabelled` (the
 * other machine's, said to be for this one). Tests
 * pull them by these names; the engine finds them in its mirror.
 */

import { chmod, copyFile, glob, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type Docker from 'dockerode'
import { commandNeed, findCommand, type Need } from '../../cli/setup/engine-install.ts'
import { type ImageSource, pushImage } from './image-push.ts'
import { run } from './program.ts'

const PATH_OF_IMAGE = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** ELF's numbers of machines, by Docker's names. */
const MACHINES = { amd64: 62, arm64: 183 } as const
const ELF_MACHINE_OFFSET = 18

/**
 * The original image's build writes its result to `fd:1`, as the original example asks. Debian's
 * build leaves STDOUT empty where that is a pipe, so its stand-in goes by way of a file.
 */
const CONVERT = `#!/bin/sh
for last; do :; done
if [ "$last" != fd:1 ]; then exec PROGRAM "$@"; fi
result=/tmp/convert.$$
trap 'rm -f "$result"' EXIT
rest=$#
while [ "$rest" -gt 1 ]; do
  set -- "$@" "$1"
  shift
  rest=$((rest - 1))
done
shift
PROGRAM "$@" "$result" || exit
cat "$result"
`

/** The program that test images and tests themselves convert with; \`convert\` may be another one. */
export const findConvert = async (): Promise<string | undefined> =>
  (await findCommand('convert-im6.q16')) ?? (await findCommand('convert-im7.q16'))

/** What a machine needs for the registry and these images. */
export const IMAGE_NEEDS: readonly Need[] = [
  commandNeed('docker-registry', 'docker-registry'),
  commandNeed('busybox', 'busybox-static'),
  {
    what: 'ImageMagick',
    packages: ['imagemagick'],
    isPresent: async () => (await findConvert()) !== undefined,
  },
]

const requireCommand = async (name: string): Promise<string> => {
  const path = await findCommand(name)
  if (path === undefined) throw new Error(`${name} is not installed`)
  return path
}

/** The same path under `rootDir` as on this machine. Links are followed. */
export const copyInto = async (rootDir: string, path: string): Promise<void> => {
  const target = join(rootDir, path)
  await mkdir(dirname(target), { recursive: true })
  await copyFile(path, target)
}

/** A root folder with busybox under the names of all its commands, and the usual few files. */
export const makeBusyboxRoot = async (rootDir: string): Promise<void> => {
  const busybox = await requireCommand('busybox')
  for (const folder of ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'etc', 'root', 'var', 'home']) {
    await mkdir(join(rootDir, folder), { recursive: true })
  }
  await mkdir(join(rootDir, 'tmp'))
  await chmod(join(rootDir, 'tmp'), 0o1777)
  await copyFile(busybox, join(rootDir, 'bin', 'busybox'))
  for (const path of (await run(busybox, ['--list-full'])).trim().split('\n')) {
    if (path !== 'bin/busybox') await symlink('/bin/busybox', join(rootDir, path))
  }
  const users = ['root:x:0:0:root:/root:/bin/sh', 'ubuntu:x:1000:1000::/home:/bin/sh']
  users.push('nobody:x:65534:65534:nobody:/nonexistent:/bin/false')
  await writeFile(join(rootDir, 'etc', 'passwd'), `${users.join('\n')}\n`)
  await writeFile(join(rootDir, 'etc', 'group'), 'root:x:0:\nubuntu:x:1000:\nnogroup:x:65534:\n')
}

/** The shared libraries that a program or a module needs, the loader among them. */
export const findLibraries = async (paths: readonly string[]): Promise<readonly string[]> => {
  const listing = await run('ldd', paths)
  return [...new Set(listing.match(/(?<=^\s+(?:\S+ => )?)\/\S+(?= \(0x)/gm) ?? [])]
}

export const findFiles = async (patterns: readonly string[]): Promise<readonly string[]> => {
  const found: string[] = []
  for await (const entry of glob([...patterns], { withFileTypes: true })) {
    if (!entry.isDirectory()) found.push(join(entry.parentPath, entry.name))
  }
  return found
}

const makeImageMagickRoot = async (rootDir: string): Promise<void> => {
  await makeBusyboxRoot(rootDir)
  const program = await findConvert()
  if (program === undefined) throw new Error('ImageMagick is not installed')
  const coders = await findFiles([
    '/usr/lib/*/ImageMagick-*/modules-*/coders/{jpeg,png,gif}.{so,la}',
  ])
  const configuration = await findFiles([
    '/usr/lib/*/ImageMagick-*/config-*/*',
    '/usr/share/ImageMagick-*/*',
    '/etc/ImageMagick-*/*',
  ])
  const modules = coders.filter((path) => path.endsWith('.so'))
  const libraries = await findLibraries([program, ...modules])
  for (const path of [program, ...coders, ...configuration, ...libraries]) {
    await copyInto(rootDir, path)
  }
  const convert = join(rootDir, 'usr', 'bin', 'convert')
  await writeFile(convert, CONVERT.replaceAll('PROGRAM', program))
  await chmod(convert, 0o755)
}

const makeStaticRoot = async (rootDir: string, helloPath: string): Promise<void> => {
  await mkdir(rootDir)
  await copyFile(helloPath, join(rootDir, 'hello'))
  await chmod(join(rootDir, 'hello'), 0o755)
}

/** The static program, but its header names a machine that this one is not. */
const makeForeignRoot = async (rootDir: string, helloPath: string): Promise<void> => {
  await makeStaticRoot(rootDir, helloPath)
  const program = await readFile(helloPath)
  program.writeUInt16LE(MACHINES[foreignArchitecture()], ELF_MACHINE_OFFSET)
  await writeFile(join(rootDir, 'hello'), program)
}

const architecture = (): keyof typeof MACHINES => (process.arch === 'arm64' ? 'arm64' : 'amd64')

const foreignArchitecture = (): keyof typeof MACHINES =>
  architecture() === 'arm64' ? 'amd64' : 'arm64'

/** Of `hyper-test/both`, by architecture. */
export const imagesOfBoth = (): Readonly<Record<string, string>> => ({
  [architecture()]: 'hyper-test/static',
  [foreignArchitecture()]: 'hyper-test/other-platform',
})

/** Makes all test images and puts them into the registry. `dir` must not exist yet. */
export const pushTestImages = async (deps: {
  readonly docker: Docker
  /** The registry as the engine reaches it, without a scheme: `127.0.0.1:5000`. */
  readonly registry: string
  readonly helloPath: string
  readonly dir: string
}): Promise<void> => {
  const native = { architecture: architecture(), Env: [PATH_OF_IMAGE] }
  const make = async (
    repository: string,
    makeRoot: (rootDir: string) => Promise<void>,
    image: Omit<ImageSource, 'repository' | 'rootDir'>,
  ): Promise<void> => {
    const dir = join(deps.dir, repository.replaceAll('/', '-'))
    const rootDir = join(dir, 'root')
    await mkdir(dir, { recursive: true })
    await makeRoot(rootDir)
    await pushImage({ ...deps, dir, source: { ...image, repository, rootDir } })
  }
  await make('library/ubuntu', makeBusyboxRoot, {
    architecture: native.architecture,
    config: { Cmd: ['/bin/sh'], Env: native.Env },
  })
  await make('v4tech/imagemagick', makeImageMagickRoot, {
    architecture: native.architecture,
    config: { Env: native.Env },
  })
  await make('hyper-test/static', (rootDir) => makeStaticRoot(rootDir, deps.helloPath), {
    architecture: native.architecture,
    config: { Cmd: ['/hello'] },
  })
  // All that an image can say of how it is run; its health check would leave a mark within
  // that second.
  await make('hyper-test/configured', makeBusyboxRoot, {
    architecture: native.architecture,
    config: {
      Entrypoint: ['sh', '-c', 'sleep 1; echo "$GREETING $0 $(pwd) $(id -u) $(ls /tmp)"'],
      Cmd: ['from-image'],
      Env: [...native.Env, 'GREETING=hello'],
      WorkingDir: '/srv/app',
      User: '1234',
      Volumes: { '/volume': {} },
      Healthcheck: { Test: ['CMD-SHELL', 'touch /tmp/checked'], Interval: 1_000_000 },
    },
  })
  await make('hyper-test/other-platform', (rootDir) => makeForeignRoot(rootDir, deps.helloPath), {
    architecture: foreignArchitecture(),
    config: { Cmd: ['/hello'] },
  })
  await make('hyper-test/mislabelled', (rootDir) => makeForeignRoot(rootDir, deps.helloPath), {
    architecture: native.architecture,
    config: { Cmd: ['/hello'] },
  })
}
